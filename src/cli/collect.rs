//! What can be typed behind `logmill collect`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};

use crate::flow::cluster::Cluster;
use crate::tail::{self, Entry, ExactlyOnce, StartFrom};

pub const HELP: &str = "\
Examples:
  logmill collect --once /var/log/app.log web_log --brokers localhost:9092
  logmill collect --follow '/var/log/**/*.log' web_log --brokers localhost:9092 --data-dir data/collect";

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("kafka").required(true).args(["brokers", "config"])))]
#[command(group(ArgGroup::new("deed").required(true).args(["once", "follow"])))]
pub struct Collect {
    /// The file (or a glob, in quotes) and the topic: read to the end and leave
    #[arg(long, num_args = 2, value_names = ["PATH", "TOPIC"])]
    pub once: Option<Vec<String>>,
    /// The same, and everything that comes later; may be given several times
    #[arg(long, num_args = 2, value_names = ["PATH", "TOPIC"], requires = "data_dir")]
    pub follow: Vec<String>,
    /// Where --follow keeps the place in every file
    #[arg(long, value_name = "DIR", requires = "follow")]
    pub data_dir: Option<PathBuf>,
    /// Where to ask for the cluster's brokers
    #[arg(long, value_name = "HOST:PORT,...")]
    pub brokers: Option<String>,
    /// Take a cluster of this configuration file instead
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Which [cluster.NAME] of --config
    #[arg(long, value_name = "NAME", default_value = "default", requires = "config")]
    pub cluster: String,
    /// The key of every message; it decides the partition
    #[arg(long, requires = "once")]
    pub key: Option<String>,
    /// none, gzip, snappy, lz4, zstd
    #[arg(long, value_name = "CODEC", default_value = "snappy")]
    pub compression: String,
    /// Follow files that are there already from their end, at the first start
    #[arg(long, requires = "follow")]
    pub from_end: bool,
    /// A regular expression: a line that matches begins a message of several lines
    #[arg(long, value_name = "REGEX", requires = "follow")]
    pub multiline_start: Option<String>,
    /// Longer lines go out in pieces
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, requires = "follow")]
    pub max_line_bytes: usize,
    /// Lines and places go out in transactions, the places into this compacted topic: who reads committed records alone
    /// sees every line once
    #[arg(long, value_name = "POSITIONS_TOPIC", requires = "follow")]
    pub exactly_once: Option<String>,
    /// How long a rotated file that does not grow is kept open for whoever still holds it, in seconds
    #[arg(long, value_name = "S", default_value_t = 300, requires = "follow")]
    pub close_delay: u64,
}

impl Collect {
    /// For --follow.
    pub fn settings(&self, cluster: Cluster, entries: Vec<Entry>) -> tail::Settings {
        let exactly_once = self.exactly_once.as_deref().map(|topic| ExactlyOnce::on_this_host("collect", topic));
        tail::Settings {
            exactly_once,
            compression: self.compression.clone(),
            start_from: if self.from_end { StartFrom::End } else { StartFrom::Beginning },
            multiline_start: self.multiline_start.clone(),
            max_line_bytes: self.max_line_bytes,
            close_delay: Duration::from_secs(self.close_delay),
            ..tail::Settings::new("collect", cluster, entries)
        }
    }
}
