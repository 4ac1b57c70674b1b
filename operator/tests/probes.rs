//! The scripts by which the kubelet asks whether a member of a store serves: they ask the server itself, and take no open
//! port for an answer.

#![expect(clippy::disallowed_methods, reason = "tests start programs and listen")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use anyhow::Result;
use millrace_api::ports::{CASSANDRA_CQL, KAFKA, Port, ZOOKEEPER_CLIENT};
use rstest::rstest;

/// Runs a script beside a server that reads what it is asked, says this, and hangs up. Returns whether that serves.
fn serves(script: &str, arguments: &[&str], port: Port, answer: &'static [u8]) -> Result<bool> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let played = listener.local_addr()?.port();
    let folder = tempfile::tempdir()?;
    let script = script
        .replace(&format!("/127.0.0.1/{}", port.number), &format!("/127.0.0.1/{played}"))
        .replace("/var/lib/cassandra", &folder.path().display().to_string());
    // Ends with the script, which connects once.
    std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let asked = stream.read(&mut [0; 64])?;
        assert!(asked < 64, "questions are short");
        stream.write_all(answer)
    });
    let ended = Command::new("bash").args(["-c", &script, "probe"]).args(arguments).output()?;
    Ok(ended.status.success())
}

#[rstest]
#[case::zookeeper(
    include_str!("../src/zookeeper/files/answers.sh"), &["srvr", "Mode: "], ZOOKEEPER_CLIENT,
    b"Zookeeper version: 3.9.5\nMode: follower\n", b"This ZooKeeper instance is not currently serving requests\n"
)]
#[case::kafka(
    include_str!("../src/kafka/files/answers.sh"), &[], KAFKA,
    b"\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00", b"\x00\x00\x00\x06\x00\x00\x00\x01\x00\x23"
)]
#[case::cassandra(
    include_str!("../src/cassandra/files/ready.sh"), &[], CASSANDRA_CQL,
    b"\x84\x00\x00\x00\x06\x00\x00\x00\x00", b"\x84\x00\x00\x00\x00\x00\x00\x00\x00"
)]
fn takes_only_a_server_that_answers_for_one_that_serves(
    #[case] script: &str,
    #[case] arguments: &[&str],
    #[case] port: Port,
    #[case] right: &'static [u8],
    #[case] wrong: &'static [u8],
) -> Result<()> {
    assert!(serves(script, arguments, port, right)?);
    assert!(!serves(script, arguments, port, wrong)?, "it answers that it does not serve");
    assert!(!serves(script, arguments, port, b"")?, "it takes connections and is dead otherwise");
    Ok(())
}
