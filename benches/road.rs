//! The stations beside the transform, each alone: what unpacking, routing, publishing and appending cost a record of
//! 550 bytes. `items/s` are records, `B/s` their bytes.
//!
//! `append` is the whole way from a line to the page cache: built in a ring, published, written by a writer thread.

use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use logmill::flow::name::{Rotate, Template};
use logmill::flow::record::Record;
use logmill::flow::span::Mark;
use logmill::flow::tally::Tally;
use logmill::reader::route::{Router, Rules};
use logmill::ring::publish::{Attempt, Publisher};
use logmill::ring::set::{Contents, MapSet, Shape};
use logmill::ring::slot::Kind;
use logmill::sys::thread;
use logmill::transform::{LaneRule, Options, Out, Program, Transformer, Unpacker, ValueCodec, Verdict};
use logmill::writer::{self, Message, Writer, route_key};

const RECORDS: usize = 2000;
const RECORD_BYTES: usize = 550;
const RING_SIZE: usize = 16 << 20;

fn main() {
    divan::main();
}

#[divan::bench(args = ["none", "block", "xerial"])]
fn unpack(bencher: Bencher<'_, '_>, codec: &str) {
    let value_codec = if codec == "none" { ValueCodec::None } else { ValueCodec::Snappy };
    let mut unpacker = Unpacker::new(&Options { value_codec, ..Options::default() });
    let values: Vec<_> = (0..RECORDS).map(|n| packed(&value(n), codec)).collect();
    counted(bencher).bench_local(|| {
        for value in &values {
            let Ok(pieces) = unpacker.unpack(Some(value)) else { panic!("{codec} is not decoded") };
            assert_eq!(black_box(pieces).count(), 1);
        }
    });
}

/// Of a transformed record: by the lane alone, as by default; by a field of the record; by its names.
#[divan::bench(args = WAYS)]
fn route(bencher: Bencher<'_, '_>, way: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let maps = maps(dir.path()).expect("maps");
    let mut publisher = Publisher::new(maps.rings[0].clone(), Vec::new());
    let mut router = router(way);
    let settings = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/settings");
    let program = Program::load(&settings, &["24".to_string()]).expect("settings");
    let mut transformer = Transformer::new(Options::default());
    let value = value(7);
    let record = record(7, &value);
    let Verdict::Ready(mut ready) = transformer.read(&program, &record, value.as_bytes(), 0, 0) else {
        panic!("the record is good")
    };
    counted(bencher).bench_local(|| {
        for _ in 0..RECORDS {
            black_box(router.of(&mut publisher, &record, &mut ready));
        }
    });
}

/// The same for values that go as they are.
#[divan::bench(args = WAYS)]
fn route_value(bencher: Bencher<'_, '_>, way: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let maps = maps(dir.path()).expect("maps");
    let mut publisher = Publisher::new(maps.rings[0].clone(), Vec::new());
    let mut router = router(way);
    let values: Vec<String> = (0..RECORDS).map(value).collect();
    counted(bencher).bench_local(|| {
        for (n, value) in values.iter().enumerate() {
            black_box(router.of_value(&mut publisher, &record(n, value), value.as_bytes()));
        }
    });
}

const WAYS: [&str; 4] = ["one lane", "8 lanes by partition", "8 lanes by field", "by topic and log name"];

fn router(way: &str) -> Router {
    let (template, lanes, field) = match way {
        "one lane" => ("log.%Y-%m-%d_{seq}", 1, None),
        "8 lanes by partition" => ("{lane}_log.%Y-%m-%d_{seq}", 8, None),
        "8 lanes by field" => ("{lane}_log.%Y-%m-%d_{seq}", 8, Some("role_id".to_string())),
        _ => ("{topic}/{log_name}_{seq}", 1, None),
    };
    let template = Template::parse(template).expect("a template");
    Router::new(Rules { template, lane: LaneRule::new(lanes, field), writers: 1 })
}

#[divan::bench(sample_count = 200, sample_size = 1, args = [1, 8])]
fn append(bencher: Bencher<'_, '_>, files: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut road = Road::start(dir.path(), files).expect("a writer");
    let line = vec![b'x'; RECORD_BYTES];
    counted(bencher).bench_local(|| {
        for n in 0..RECORDS {
            road.line(n % files, &line);
        }
        road.finish();
    });
}

/// A ring, its publisher, and the thread that writes what is published.
struct Road {
    maps: Arc<MapSet>,
    publisher: Publisher,
    routes: Vec<Vec<u8>>,
    inbox: Sender<Message>,
}

impl Road {
    fn start(dir: &std::path::Path, files: usize) -> Result<Road, Box<dyn std::error::Error>> {
        let maps = Arc::new(maps(dir)?);
        let settings = writer::Settings {
            task: "bench".into(),
            index: 0,
            dir: dir.join("out"),
            failures_dir: dir.join("failures"),
            live: writer::Live { timezone_s: 0, rotate: Rotate::None, rotate_size: 0, min_free: 0 },
        };
        std::fs::create_dir(&settings.dir)?;
        let writer = Writer::new(settings, maps.rings.clone(), &maps.slots, Arc::default())?;
        let (inbox, messages) = bounded(1024);
        thread::spawn("writer", None, move || writer.run(&messages))?;
        let mut publisher = Publisher::new(maps.rings[0].clone(), Vec::new());
        publisher.add(Mark::default());
        let routes = (0..files).map(|f| route_key(Kind::Lines, &format!("{f}_{{seq}}"))).collect();
        Ok(Road { maps, publisher, routes, inbox })
    }

    fn line(&mut self, file: usize, line: &[u8]) {
        loop {
            while !self.publisher.begin() {
                self.free();
            }
            let route = self.publisher.route(&self.routes[file], 0);
            let built: Attempt<()> = self.publisher.line(route, |room, _| {
                let mut out = Out::new(room);
                out.put(line);
                out.put(b"\n");
                if out.is_full() { Attempt::Full } else { Attempt::Done(out.len()) }
            });
            if let Attempt::Done(_) = built {
                break;
            }
            self.publish();
        }
        let mark = self.publisher.mark(0);
        mark.next += 1;
        mark.counts.consumed += 1;
        mark.counts.written += 1;
        if self.publisher.is_ripe() {
            self.publish();
        }
    }

    fn publish(&mut self) {
        if let Some(entry) = self.publisher.publish() {
            self.inbox.send(Message::Entry { ring: 0, pos: entry.pos, born_ms: None }).expect("the writer lives");
        }
    }

    /// Until everything stands in the files.
    fn finish(&mut self) {
        self.publish();
        while !self.free() {}
    }

    fn free(&mut self) -> bool {
        let empty = self.publisher.free(|writer| self.maps.applied(writer, 0)).expect("the ring is whole");
        if !empty {
            std::thread::yield_now();
        }
        empty
    }
}

fn maps(dir: &std::path::Path) -> std::io::Result<MapSet> {
    let shape = Shape { readers: 1, writers: 1, ring_size: RING_SIZE };
    let contents = Contents {
        set_id: 1,
        boot_id: 1,
        topics: vec!["mulog_clean_24".into()],
        marks: vec![Vec::new()],
        tally: Tally::default(),
        files: vec![Vec::new()],
        seq: 1,
        seq_limit: 1000,
        committed: 0,
    };
    MapSet::create(dir, shape, &contents)
}

fn counted<'a, 'b>(bencher: Bencher<'a, 'b>) -> Bencher<'a, 'b> {
    bencher.counter(ItemsCount::new(RECORDS)).counter(BytesCount::new(RECORDS * RECORD_BYTES))
}

fn record(n: usize, value: &str) -> Record<'_> {
    let (partition, offset, value) = (n as i32 % 6, n as i64, Some(value.as_bytes()));
    Record { topic: "mulog_clean_24", partition, offset, timestamp_ms: 0, leader_epoch: 0, value }
}

/// A record of exactly [`RECORD_BYTES`].
fn value(n: usize) -> String {
    let (head, role) = (r#"{"headers":{"app_id":24,"log_name":"log_item"},"logs":{"#, 6_001_310_000_000 + n);
    let mut text = format!("{head}\"role_id\":{role},\"mtime\":1608184243,\"server_id\":5001,\"via\":\"36|3100\"");
    let mut field = 0;
    while text.len() < RECORD_BYTES - 40 {
        text += &format!(",\"attribute_{field}\":{}", n * (field + 7) % 10_000);
        field += 1;
    }
    let fill = RECORD_BYTES - text.len() - r#","fill":""}}"#.len();
    text + &format!(",\"fill\":\"{}\"}}}}", "x".repeat(fill))
}

fn packed(value: &str, codec: &str) -> Vec<u8> {
    let block = snap::raw::Encoder::new().compress_vec(value.as_bytes()).expect("snappy");
    match codec {
        "none" => value.as_bytes().to_vec(),
        "block" => block,
        _ => {
            let head = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01";
            [&head[..], &(block.len() as u32).to_be_bytes(), &block].concat()
        }
    }
}
