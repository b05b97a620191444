//! Brokers that are not there yet.

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use super::course::{Course, SOON};
use crate::support::{Part, Running, eventually, free_port, kafka, left_out};

/// librdkafka says so with each attempt, and in many words.
#[test]
fn that_no_broker_answers_is_said_once_and_once_that_one_does() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    course.write("a.log", "1\n");
    let front = format!("127.0.0.1:{}", free_port());
    let mut program = Command::new(env!("CARGO_BIN_EXE_logmill"));
    program.args(["collect", "--brokers", &front, "--follow"]).arg(course.path(course.pattern)).arg(&course.topic);
    program.arg("--data-dir").arg(course.dir.path().join("data")).env("RUST_LOG", "debug");
    course.run = Some(Running::start(program, course.dir.path().join("log")));
    eventually("several attempts", SOON, || (course.log().matches("Connection refused").count() > 5).then_some(()));
    let door = TcpListener::bind(&front).expect("the port");
    // The broker tells its own address: nothing but the first questions comes this way.
    std::thread::spawn(move || {
        for client in door.incoming().flatten() {
            let broker = TcpStream::connect(kafka().bootstrap()).expect("the broker");
            let pass =
                |mut from: TcpStream, mut to: TcpStream| std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            pass(client.try_clone().expect("a socket"), broker.try_clone().expect("a socket"));
            pass(broker, client);
        }
    });
    course.await_lines(1);
    course.await_log("brokers answer again");
    course.stop();
    let log = course.log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains(" logmill::") && !line.contains("DEBUG")).collect();
    assert!(said.len() == 2 && said[0].contains(&format!("no broker answers ({front})")), "{said:?}");
    assert!(said[1].contains("brokers answer again"), "{said:?}");
}
