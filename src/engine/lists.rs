//! The list of entries in etcd, watched on a thread of its own. What is refused, or not heard of, leaves the last list
//! in force and is said in the status.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};

use super::Event;
use crate::conf::config::Collect;
use crate::flow::problem::{LastError, Problem};
use crate::sys::{socket, thread};
use crate::tail::Entry;
use crate::tail::etcd::{Etcd, Found, Settings};

/// Stands in the key for this host's address.
const HOST: &str = "%s";

/// A list that is watched.
pub struct EtcdList {
    settings: Settings,
    taker: Collect,
    /// What comes from another watch carries another number.
    pub number: u64,
    /// `None`: nothing was heard yet.
    pub list: Option<Vec<Entry>>,
    _stop: Sender<()>,
}

impl EtcdList {
    /// Until something is heard, the list of `old` holds.
    ///
    /// # Errors
    /// A certificate cannot be used any more, or the kernel has no room for a thread.
    pub fn start(
        settings: &Settings,
        taker: &Collect,
        old: Option<EtcdList>,
        trouble: Arc<LastError>,
        events: Sender<Event>,
    ) -> io::Result<EtcdList> {
        let number = old.as_ref().map_or(1, |old| old.number + 1);
        let list = old.filter(|old| old.taker.name == taker.name).and_then(|old| old.list);
        let (stop, stopped) = bounded(0);
        let (mut asked, own) = (settings.clone(), taker.clone());
        thread::spawn("etcd", None, move || {
            let host = socket::own_address(&asked.endpoints);
            asked.key = asked.key.replace(HOST, &host.to_string());
            log::info!("{}: follows the list under {} in etcd", own.name, asked.key);
            let name = PathBuf::from(format!("etcd:{}", asked.key));
            let etcd = match Etcd::new(asked) {
                Ok(etcd) => etcd,
                Err(error) => return trouble.set(error.to_string()),
            };
            etcd.run(&stopped, |found| {
                let list = match found {
                    Found::List(None) => Ok(Vec::new()),
                    Found::List(Some(bytes)) => own.list(&name, &bytes).map_err(|problems| refused(&own, &problems)),
                    Found::Away(why) => Err(away(&own, &why)),
                };
                match &list {
                    Ok(_) => trouble.clear(),
                    Err(why) => trouble.set(why.clone()),
                }
                drop(events.send(Event::Etcd(number, list.ok())));
            });
        })?;
        Ok(EtcdList { settings: settings.clone(), taker: taker.clone(), number, list, _stop: stop })
    }

    /// A watch for these would be the same.
    pub fn is_for(&self, settings: &Settings, taker: &Collect) -> bool {
        let entry = |taker: &Collect| (taker.name.clone(), taker.topic.clone(), taker.key.clone());
        self.settings == *settings && entry(&self.taker) == entry(taker)
    }

    /// `None`: there is none to be had. Who ends with the list that there is waits for it.
    pub fn hear(&mut self, list: Option<Vec<Entry>>, must_come: bool) {
        if let Some(list) = list {
            self.list = Some(list);
        } else if !must_come {
            self.list.get_or_insert_default();
        }
    }
}

fn refused(task: &Collect, problems: &[Problem]) -> String {
    problems.iter().for_each(|problem| log::error!("{}: {problem}", task.name));
    let more = if problems.len() > 1 { format!(" ({} problems in all)", problems.len()) } else { String::new() };
    let first = problems.first().map(Problem::to_string).unwrap_or_default();
    format!("the list in etcd is refused, the last one stays: {first}{more}")
}

fn away(task: &Collect, why: &str) -> String {
    log::error!("{}: the last list stays: {why}", task.name);
    format!("the last list stays: {why}")
}
