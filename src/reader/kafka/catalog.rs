//! The questions that are not the hot road: which partitions there are, where they begin and end, and the group's
//! offsets.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{FetchError, From, c_string, list_of, settings, text};
use crate::flow::cluster::{Cluster, Start};

/// Every call blocks until the broker answers or its time is over.
pub struct Catalog {
    consumer: BaseConsumer,
    /// Longest wait for one answer.
    patience: Duration,
}

/// Longest wait for one answer, unless it is set.
const ASK: Duration = Duration::from_secs(5);
/// The same for ids: some brokers never tell them.
const ASK_IDS: Duration = Duration::from_secs(2);

/// What tells a cluster and its topics from others of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// "" where the brokers tell none.
    pub cluster: String,
    /// In the order of the question; `None` where there is no such topic, "" where the brokers tell no id.
    pub topics: Vec<Option<String>>,
}

impl Identity {
    /// All topics are there, and nothing tells them from others.
    pub fn without_ids(topics: &[String]) -> Identity {
        Identity { cluster: String::new(), topics: vec![Some(String::new()); topics.len()] }
    }
}

/// A partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    pub id: i32,
    /// Some broker can tell of it.
    pub has_leader: bool,
}

impl Catalog {
    /// # Errors
    /// librdkafka refuses a setting.
    pub fn open(cluster: &Cluster, group_id: &str) -> Result<Catalog, FetchError> {
        let mut config = ClientConfig::new();
        config.extend(settings(cluster, group_id));
        config.set_log_level(rdkafka::config::RDKafkaLogLevel::Critical);
        let consumer = config.create().map_err(|e| FetchError::Start(e.to_string()))?;
        Ok(Catalog { consumer, patience: ASK })
    }

    /// The longest wait for one answer from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The partitions of a topic, none if it does not exist.
    ///
    /// # Errors
    /// No broker answers, or it refuses.
    pub fn partitions(&self, topic: &str) -> Result<Vec<Partition>, FetchError> {
        let failed = |source| FetchError::Request { deed: format!("ask for topic {topic}"), source };
        let answer = self.consumer.fetch_metadata(Some(topic), self.patience).map_err(failed)?;
        let Some(found) = answer.topics().iter().find(|t| t.name() == topic) else { return Ok(Vec::new()) };
        match found.error().map(RDKafkaErrorCode::from) {
            None | Some(RDKafkaErrorCode::LeaderNotAvailable) => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(Vec::new()),
            Some(error) => return Err(failed(KafkaError::MetadataFetch(error))),
        }
        Ok(found.partitions().iter().map(|p| Partition { id: p.id(), has_leader: p.leader() >= 0 }).collect())
    }

    /// The ids of the cluster and of these topics.
    ///
    /// # Errors
    /// No broker answers.
    pub fn identity(&self, topics: &[String]) -> Result<Identity, FetchError> {
        let deed = || "ask for the ids of topics".to_string();
        let failed = |code: rd::rd_kafka_resp_err_t| FetchError::Request {
            deed: deed(),
            source: KafkaError::AdminOp(RDKafkaErrorCode::from(code)),
        };
        let names: Vec<_> = topics.iter().map(|name| c_string(name)).collect();
        let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let wait_ms = ASK_IDS.as_millis() as std::ffi::c_int;
        let rk = self.consumer.client().native_ptr();
        // SAFETY: every object is destroyed once, after its last use; librdkafka copies the names; the descriptions
        // live as long as the event.
        unsafe {
            let cluster = rd::rd_kafka_clusterid(rk, wait_ms);
            let cluster_text = text(cluster);
            if !cluster.is_null() {
                rd::rd_kafka_mem_free(rk, cluster.cast());
            }
            let queue = rd::rd_kafka_queue_new(rk);
            let options = rd::rd_kafka_AdminOptions_new(rk, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
            let asked = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            rd::rd_kafka_AdminOptions_set_request_timeout(options, wait_ms, std::ptr::null_mut(), 0);
            rd::rd_kafka_DescribeTopics(rk, asked, options, queue);
            rd::rd_kafka_TopicCollection_destroy(asked);
            rd::rd_kafka_AdminOptions_destroy(options);
            let found = match answered(queue, ASK_IDS, |event| ids(event, topics)) {
                // Brokers that know no ids.
                Err(rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE) => {
                    Ok(vec![Some(String::new()); topics.len()])
                }
                found => found.map_err(failed),
            };
            rd::rd_kafka_queue_destroy(queue);
            Ok(Identity { cluster: cluster_text, topics: found? })
        }
    }

    /// Of each partition the first offset, and the end that a read_committed reader reaches.
    ///
    /// # Errors
    /// No broker answers, or it refuses; of a partition without a leader nobody does.
    pub fn bounds(&self, places: &[(&str, i32)]) -> Result<Vec<(i64, i64)>, FetchError> {
        let (lows, highs) = (self.all(places, Offset::Beginning)?, self.ends(places)?);
        Ok(lows.into_iter().zip(highs).collect())
    }

    /// The ends alone.
    ///
    /// # Errors
    /// As [`Self::bounds`].
    pub fn ends(&self, places: &[(&str, i32)]) -> Result<Vec<i64>, FetchError> {
        self.all(places, Offset::End)
    }

    /// The offset that `start` means in each partition.
    ///
    /// # Errors
    /// As [`Self::bounds`].
    pub fn resolve(&self, places: &[(&str, i32)], start: Start) -> Result<Vec<i64>, FetchError> {
        let ms = match start {
            Start::Earliest => return self.all(places, Offset::Beginning),
            Start::Latest => return self.ends(places),
            Start::Timestamp(ms) => ms,
        };
        // Asked first: what comes in between is not passed over.
        let ends = self.ends(places)?;
        let found = self.offsets(places, Offset::Offset(ms))?;
        Ok(found.into_iter().zip(ends).map(|(found, end)| found.unwrap_or(end)).collect())
    }

    fn all(&self, places: &[(&str, i32)], what: Offset) -> Result<Vec<i64>, FetchError> {
        let none = |place| untold(&[place], KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset));
        let found = self.offsets(places, what)?.into_iter().zip(places);
        found.map(|(offset, place)| offset.ok_or_else(|| none(*place))).collect()
    }

    /// One question to each broker: of each partition, in their order, the first record at or after a time, or with
    /// [`Offset::Beginning`] and [`Offset::End`] what these are. `None`: there is no such record.
    fn offsets(&self, places: &[(&str, i32)], what: Offset) -> Result<Vec<Option<i64>>, FetchError> {
        let failed = |source| untold(places, source);
        let mut ask = TopicPartitionList::with_capacity(places.len());
        for (topic, partition) in places {
            ask.add_partition_offset(topic, *partition, what).map_err(failed)?;
        }
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self.consumer.offsets_for_times(ask, self.patience).map_err(failed)?;
        let told = answer.elements();
        let told: HashMap<_, _> = told.iter().map(|p| ((p.topic(), p.partition()), p.offset())).collect();
        let offset = |place: &(&str, i32)| match told.get(place) {
            Some(Offset::Offset(offset)) => Some(*offset),
            _ => None,
        };
        Ok(places.iter().map(offset).collect())
    }

    /// Commits offsets to the group, so that every lag tool sees them. librdkafka's own waiting call has no end while
    /// the group's broker is silent.
    ///
    /// # Errors
    /// No broker answers, or it refuses.
    pub fn commit(&self, places: &[From<'_>]) -> Result<(), FetchError> {
        let rk = self.consumer.client().native_ptr();
        // SAFETY: librdkafka copies the list; list and queue are destroyed once, after their last use. An answer that
        // comes later finds no queue, and is dropped.
        let committed = unsafe {
            let (list, queue) = (list_of(places), rd::rd_kafka_queue_new(rk));
            let asked = rd::rd_kafka_commit_queue(rk, list, queue, None, std::ptr::null_mut());
            rd::rd_kafka_topic_partition_list_destroy(list);
            let committed = match asked {
                rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => answered(queue, self.patience, drop),
                refused => Err(refused),
            };
            rd::rd_kafka_queue_destroy(queue);
            committed
        };
        committed.map_err(|error| FetchError::Request {
            deed: "commit offsets to the group".into(),
            source: KafkaError::ConsumerCommit(error.into()),
        })
    }
}

/// These partitions' offsets are not told.
fn untold(places: &[(&str, i32)], source: KafkaError) -> FetchError {
    let more = places.len().saturating_sub(1);
    let of = places.first().map(|(topic, partition)| format!("{topic}/{partition}")).unwrap_or_default();
    let of = if more > 0 { format!("{of} and {more} partitions more") } else { of };
    FetchError::Request { deed: format!("ask for offsets of {of}"), source }
}

/// What `read` takes from the next event of the queue.
///
/// # Errors
/// That none came within `wait`, or what it tells.
///
/// # Safety
/// The queue is alive; `read` gets an event that lives until it returns.
unsafe fn answered<T>(
    queue: *mut rd::rd_kafka_queue_t,
    wait: Duration,
    read: impl FnOnce(*mut rd::rd_kafka_event_t) -> T,
) -> Result<T, rd::rd_kafka_resp_err_t> {
    // SAFETY: by the caller; the event is destroyed once, after its last use.
    unsafe {
        let event = rd::rd_kafka_queue_poll(queue, wait.as_millis() as std::ffi::c_int);
        if event.is_null() {
            return Err(rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT);
        }
        let answer = match rd::rd_kafka_event_error(event) {
            rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(read(event)),
            error => Err(error),
        };
        rd::rd_kafka_event_destroy(event);
        answer
    }
}

/// # Safety
/// The event is the answer to a description of topics, and alive.
unsafe fn ids(event: *mut rd::rd_kafka_event_t, topics: &[String]) -> Vec<Option<String>> {
    const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";
    let mut found = vec![None; topics.len()];
    let mut count = 0;
    // SAFETY: by the caller; an array of `count` descriptions that live as long as the event.
    unsafe {
        let result = rd::rd_kafka_event_DescribeTopics_result(event);
        let all = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for at in 0..count {
            let topic = *all.add(at);
            let name = text(rd::rd_kafka_TopicDescription_name(topic));
            let error = rd::rd_kafka_error_code(rd::rd_kafka_TopicDescription_error(topic));
            if matches!(
                error,
                rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                    | rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            ) {
                continue;
            }
            let id = rd::rd_kafka_TopicDescription_topic_id(topic);
            let id = if id.is_null() { String::new() } else { text(rd::rd_kafka_Uuid_base64str(id)) };
            if let Some(at) = topics.iter().position(|t| *t == name) {
                found[at] = Some(if id == NO_ID { String::new() } else { id });
            }
        }
    }
    found
}
