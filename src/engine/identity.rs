//! Whether the topics are still those that were read.

use crate::ledger::cut::Cut;
use crate::reader::Topic;
use crate::reader::kafka::Identity;

/// What is stored was read in one cluster and in topics of their own ids; elsewhere its offsets mean nothing. What was
/// not known before is noted in `known`.
pub fn compare(known: &mut Cut, found: &Identity) -> Vec<Topic> {
    if known.cluster.is_empty() {
        known.cluster.clone_from(&found.cluster);
    }
    let other_cluster = !found.cluster.is_empty() && known.cluster != found.cluster;
    let mut topics = Vec::new();
    for (topic, id) in known.topics.iter_mut().zip(&found.topics) {
        topics.push(match id {
            None => Topic::Unknown,
            Some(_) if other_cluster => Topic::Other(format!(
                "this is cluster {}, what is stored was read in cluster {}; point the task to the old cluster, or \
                 take a new group_id with start set",
                found.cluster, known.cluster
            )),
            Some(id) if id.is_empty() || topic.id == *id => Topic::Same,
            Some(id) if topic.id.is_empty() => {
                topic.id.clone_from(id);
                Topic::Same
            }
            Some(id) => Topic::Other(format!(
                "the topic was made anew: its id is {id}, what is stored was read in {}; to read what it holds, take a \
                 new group_id with start set",
                topic.id
            )),
        });
    }
    topics
}
