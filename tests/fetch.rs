//! Kafka's protocol as the native client speaks it: beside librdkafka on a real broker, over a log that was cut, with a
//! broker that lies, with leaders that move and connections that go silent; and what it leaves to librdkafka.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use logmill::flow::cluster::{Client, Cluster};
use logmill::flow::record::{From as Place, Item};
use logmill::protocol::wire::Frame;
use logmill::reader::source::Source;

use crate::support::{
    Codec, Kafka, Line, Made, Mock, Order, Part, Proxy, Record, SOON, Seen, Site, TransactionEnd, expecting, kafka,
    left_out, written,
};

const WAIT: Duration = Duration::from_millis(100);

/// Partition, offset, timestamp, leader epoch, value.
type Taken = (i32, i64, i64, i32, Option<Vec<u8>>);

fn open(client: Client, brokers: &str, topic: &str) -> Source {
    Source::open(client, &Cluster::of_brokers(brokers), "fetch-tests", &[topic.to_owned()]).expect("a client")
}

/// Hands over every item until `done` says so.
fn until(source: &mut Source, mut done: impl FnMut(Item<'_>) -> bool) {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < SOON, "what was awaited has not come");
        let mut batch = source.next_batch(WAIT);
        while let Some(item) = batch.next_item() {
            if done(item) {
                return;
            }
        }
    }
}

/// All that a client gives until each partition has told where it ends, and those ends.
fn read(client: Client, topic: &str, from: &[i64]) -> (Vec<Taken>, BTreeMap<i32, i64>) {
    let mut source = open(client, kafka().bootstrap(), topic);
    let place = |(partition, offset)| Place { topic, partition, offset, epoch: -1 };
    let places: Vec<Place<'_>> = (0..).zip(from.iter().copied()).map(place).collect();
    source.assign(&places).expect("partitions");
    let (mut taken, mut ends) = (Vec::new(), BTreeMap::new());
    until(&mut source, |item| {
        match item {
            Item::Record(0, r) => {
                taken.push((r.partition, r.offset, r.timestamp_ms, r.leader_epoch, r.value.map(<[u8]>::to_vec)));
            }
            Item::End { partition, offset, .. } => drop(ends.insert(partition, offset)),
            Item::Trouble(_) => {}
            other => panic!("{client:?}: {other:?}"),
        }
        ends.len() == from.len()
    });
    for (partition, _) in places.iter().map(|place| (place.partition, place.offset)) {
        assert_eq!(source.high(0, partition), ends.get(&partition).copied(), "{client:?}");
    }
    // Each partition in the order in which it came.
    taken.sort_by_key(|(partition, ..)| *partition);
    (taken, ends)
}

#[test]
fn both_clients_take_the_same_records() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("clients", 3);
    let made = written(1, 3, 6_000);
    let mut parts = made.chunks(500).map(|part| part.iter().map(Record::from));
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        kafka().produce_with(&topic, codec, parts.next().expect("records"));
        let null = |partition| Record { partition, payload: None, timestamp_ms: 7 };
        kafka().produce_with(&topic, codec, (0..3).map(null));
    }
    for end in [TransactionEnd::Abort, TransactionEnd::Commit, TransactionEnd::Abort] {
        kafka().produce_transaction(&topic, end, parts.next().expect("records"));
    }
    kafka().delete_records(&topic, 1, 50);
    let native = read(Client::Native, &topic, &[0, 50, 77]);
    let other = read(Client::Librdkafka, &topic, &[0, 50, 77]);
    assert_eq!(native.1, other.1, "ends");
    assert!(native.0 == other.0, "{} and {} records", native.0.len(), other.0.len());
    // Six parts were to be seen, and the nulls; not those before the places.
    assert_eq!(native.0.len(), 6 * 500 + 5 * 3 - 50 - 77);
}

/// A log that is shorter than it was, and grew again: what stands there now is not what was read.
#[test]
fn a_log_that_was_cut_is_named_and_one_that_was_not_is_read_on() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let kafka = Kafka::start(1);
    let topic = kafka.create_topic("cut", 1);
    let made = written(2, 1, 300);
    kafka.produce(&topic, made[..100].iter().map(Record::from));
    // A new leader: another epoch from 100 on.
    kafka.kill9(1);
    kafka.restart(1);
    kafka.produce(&topic, made[100..].iter().map(Record::from));
    let mut source = open(Client::Native, kafka.bootstrap(), &topic);
    let mut first = |offset, epoch| {
        source.assign(&[Place { topic: &topic, partition: 0, offset, epoch }]).expect("partitions");
        let mut found = Ok((0, 0));
        until(&mut source, |item| {
            match item {
                Item::Record(_, record) => found = Ok((record.offset, record.leader_epoch)),
                Item::Broken { reason, .. } | Item::OutOfRange { reason, .. } => found = Err(reason),
                _ => return false,
            }
            true
        });
        found
    };
    let (_, before) = first(99, -1).expect("the last of the first leader");
    let (_, after) = first(100, before).expect("the log holds what was read before 100");
    assert!(after > before);
    assert_eq!(first(200, after), Ok((200, after)));
    let reason = first(200, before).expect_err("150 was never of the first epoch");
    assert!(reason.contains(&format!("its epoch {before} ends at offset 100")), "{reason}");
    let reason = first(200, after + 7).expect_err("no such epoch was ever there");
    assert!(reason.contains("does not know that epoch"), "{reason}");
    assert!(first(301, after).expect_err("beyond the end").contains("ends at offset 300"));
    assert!(first(301, -1).expect_err("beyond the end").contains("out of range"));
}

/// What is answered to a fetch of this correlation.
type Answer = fn(i32) -> Vec<u8>;

/// Answers until nobody asks any more; each fetch gets the next of the answers, the last one again and again.
fn broker(listener: &TcpListener, fetches: &[Answer]) {
    let port = i32::from(listener.local_addr().expect("an address").port());
    let mut next = 0;
    while let Ok((mut stream, _)) = listener.accept() {
        while let Some((api, correlation)) = question(&mut stream) {
            let mut frame = Frame::default();
            frame.i32(0).i32(correlation);
            let answer = match api {
                18 => frame.i16(0).i32(2).i16(1).i16(4).i16(17).i16(3).i16(0).i16(13),
                3 => {
                    frame.no_tags().i32(0).count(1).i32(5).string("127.0.0.1").i32(port).string("").no_tags();
                    frame.string("").i32(5).count(1).i16(0).string("t").i8(0).count(1);
                    frame.i16(0).i32(0).i32(5).i32(0).count(0).count(0).count(0).no_tags().i32(0).no_tags().i32(0)
                }
                _ => {
                    let answer = fetches[next.min(fetches.len() - 1)](correlation);
                    next += 1;
                    if answer.is_empty() || stream.write_all(&answer).is_err() {
                        break;
                    }
                    continue;
                }
            };
            answer.no_tags();
            if stream.write_all(&std::mem::take(answer).finish()).is_err() {
                break;
            }
        }
    }
}

fn question(stream: &mut TcpStream) -> Option<(i16, i32)> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut question = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut question).ok()?;
    let (api, correlation) = (question[..2].try_into().ok()?, question[4..8].try_into().ok()?);
    Some((i16::from_be_bytes(api), i32::from_be_bytes(correlation)))
}

/// Of partition 0 of `t`, which is empty, unless `parts` says that it is of more.
fn fetched(correlation: i32, topic: &str, parts: usize) -> Vec<u8> {
    let mut frame = Frame::default();
    frame.i32(0).i32(correlation).no_tags().i32(0).i16(0).i32(0).count(1).string(topic).count(parts);
    frame.i32(0).i16(0).i64(0).i64(0).i64(0).count(0).i32(-1).string("").no_tags().no_tags().no_tags();
    frame.finish()
}

#[test]
fn a_broker_that_lies_is_named_and_left() {
    let lies: [(Answer, &str); 6] = [
        (|_| vec![0x7f; 8], "is this Kafka without TLS"),
        (|_| Vec::new(), "it has closed the connection"),
        (|id| fetched(id + 1, "t", 1), "it answers what nobody asked"),
        (|id| fetched(id, "t", 3), "at byte"),
        (|id| fetched(id, "t", 1 << 40), "a length that goes beyond the end"),
        (|id| fetched(id, "u", 1), "a partition that nobody asked for"),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let honest: Answer = |id| fetched(id, "t", 1);
    let answers: Vec<_> = lies.iter().map(|(lie, _)| *lie).chain([honest]).collect();
    std::thread::spawn(move || broker(&listener, &answers));
    let mut source = open(Client::Native, &address, "t");
    source.assign(&[Place { topic: "t", partition: 0, offset: 0, epoch: -1 }]).expect("partitions");
    let mut troubles = Vec::new();
    until(&mut source, |item| match item {
        Item::Trouble(reason) => {
            troubles.push(reason);
            false
        }
        Item::End { offset: 0, .. } => true,
        other => panic!("{other:?}"),
    });
    assert_eq!(troubles.len(), lies.len(), "{troubles:?}");
    for (trouble, (_, words)) in troubles.iter().zip(lies) {
        assert!(trouble.contains(words) && trouble.contains(&address), "{trouble}: {words}");
    }
}

/// A task that leaves the choice of the client to the program.
fn site(bootstrap: &str, topic: &str, fetch: &str) -> Site {
    let mut site = Site::new(bootstrap);
    site.task("game", &[topic], &format!("fetch = {fetch:?}\nreaders = 2"));
    site
}

/// All of it comes through librdkafka, for a reason that is said once.
fn assert_left_to_librdkafka(site: &Site, made: &[Made], reason: &str) {
    let mut run = site.start(&[]);
    site.await_lines("game", made.len(), SOON);
    let shown = site.millctl(&["status", "--json"]).json();
    let task = &shown["tasks"][0];
    assert_eq!(task["client"], "librdkafka", "{shown}");
    assert!(task["client_reason"].as_str().is_some_and(|told| told.contains(reason)), "{shown}");
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    assert_eq!(site.log().matches("fetch = librdkafka").count(), 1, "{}", site.log());
    expecting(made).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
}

#[test]
fn a_property_that_the_native_client_does_not_know_is_left_to_librdkafka() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("racked", 2);
    let made = written(3, 2, 400);
    kafka().produce(&topic, made.iter().map(Record::from));
    let mut racked = Site::new(kafka().bootstrap());
    racked.process(&format!(
        "[cluster.racked]\nbrokers = {:?}\nlibrdkafka = {{ \"client.rack\" = \"a\" }}",
        kafka().bootstrap()
    ));
    racked.task("game", &[&topic], "cluster = \"racked\"\nfetch = \"auto\"\nreaders = 2");
    assert_left_to_librdkafka(&racked, &made, "the native client does not know client.rack");
}

#[test]
fn brokers_that_speak_too_little_are_left_to_librdkafka_unless_the_native_client_is_asked_for() {
    let topic = "spoken";
    let mock = Mock::start(1, topic, 2);
    mock.fetch_is_at_most(11);
    let made = written(5, 2, 400);
    mock.produce(topic, made.iter().map(Record::from));
    let auto = site(&mock.bootstrap(), topic, "auto");
    assert_left_to_librdkafka(&auto, &made, "it does not speak Fetch version 12");

    let native = site(&mock.bootstrap(), topic, "native");
    let mut run = native.start(&[]);
    native.await_log("it does not speak Fetch version 12, as Kafka 2.7 does; fetch = \"auto\" takes librdkafka", SOON);
    let stopped = native.awaited("both partitions are named", SOON, || {
        let shown = native.millctl(&["status"]).out;
        shown.contains("NOT READ: spoken/0, spoken/1").then_some(shown)
    });
    assert!(stopped.contains("fetch native\n"), "{stopped}");
    assert_eq!(native.lines("game"), 0);
    run.term();
    assert!(run.wait(SOON).success(), "{}", native.log());
}

/// Offsets of each partition, which have to come one after the other.
fn take_in_order(source: &mut Source, next: &mut [i64], until_offset: i64) {
    let start = Instant::now();
    while next.iter().any(|next| *next < until_offset) {
        assert!(start.elapsed() < SOON, "before {until_offset} it stands at {next:?}");
        let mut batch = source.next_batch(WAIT);
        while let Some(item) = batch.next_item() {
            match item {
                Item::Record(0, record) => {
                    let next = &mut next[record.partition as usize];
                    assert_eq!(record.offset, *next, "of partition {}", record.partition);
                    *next += 1;
                }
                Item::Trouble(_) | Item::End { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn leaders_that_move_and_brokers_that_go_cost_nothing_with_either_client() {
    const PARTITIONS: i32 = 6;
    let topic = "moved";
    for client in [Client::Native, Client::Librdkafka] {
        let mock = Mock::start(3, topic, PARTITIONS);
        let lead = |by: i32| (0..PARTITIONS).for_each(|p| mock.lead(topic, p, 1 + (p + by) % 3));
        let produce = |each: i64| {
            let records =
                |p| (0..each).map(move |_| Record { partition: p, payload: Some(vec![7; 100]), timestamp_ms: 7 });
            mock.produce(topic, (0..PARTITIONS).flat_map(records));
        };
        lead(0);
        produce(100);
        let mut source = open(client, &mock.bootstrap(), topic);
        let places: Vec<_> =
            (0..PARTITIONS).map(|partition| Place { topic, partition, offset: 0, epoch: -1 }).collect();
        source.assign(&places).expect("partitions");
        let mut next = vec![0; PARTITIONS as usize];
        take_in_order(&mut source, &mut next, 50);
        // While what was asked of the old leaders is on its way.
        lead(1);
        produce(100);
        take_in_order(&mut source, &mut next, 200);
        lead(2);
        produce(100);
        take_in_order(&mut source, &mut next, 300);
        // Broker 2 goes with what is asked of it, and the others take its partitions.
        mock.set_down(2, true);
        (0..PARTITIONS).for_each(|p| mock.lead(topic, p, 1 + 2 * (p % 2)));
        produce(100);
        take_in_order(&mut source, &mut next, 400);
        mock.set_down(2, false);
        lead(0);
        produce(100);
        take_in_order(&mut source, &mut next, 500);
    }
}

#[test]
fn a_connection_that_goes_silent_is_given_up_and_made_anew() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let proxy = Proxy::start();
    let topic = proxy.kafka().create_topic("silent", 1);
    let made = written(6, 1, 300);
    let produce = |part: &[Made]| proxy.kafka().produce(&topic, part.iter().map(Record::from));
    let librdkafka = vec![("socket.timeout.ms".into(), "1000".into())];
    // By name, which is looked up first.
    let named = proxy.bootstrap().replace("127.0.0.1", "localhost");
    let cluster = Cluster { librdkafka, ..Cluster::of_brokers(&named) };
    let mut source =
        Source::open(Client::Native, &cluster, "fetch-tests", std::slice::from_ref(&topic)).expect("a client");
    source.assign(&[Place { topic: &topic, partition: 0, offset: 0, epoch: -1 }]).expect("a partition");
    produce(&made[..100]);
    let mut next = [0];
    take_in_order(&mut source, &mut next, 100);
    for (line, words) in [(Line::HalfOpen, "it has said nothing for 1.1 s"), (Line::Cut, "reset by peer")] {
        proxy.set(line);
        produce(&made[next[0] as usize..][..100]);
        until(&mut source, |item| match item {
            Item::Trouble(reason) => reason.contains(words) && reason.contains(&proxy.bootstrap()),
            Item::End { .. } => false,
            other => panic!("through a line that is {line:?}: {other:?}"),
        });
        proxy.set(Line::Open);
        let goal = next[0] + 100;
        take_in_order(&mut source, &mut next, goal);
    }
}
