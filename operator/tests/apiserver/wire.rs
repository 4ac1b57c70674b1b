//! ZooKeeper, Kafka and Cassandra as an operator process reaches them: on their own ports, in their own protocols, as far
//! as the operator asks stores that lack nothing. What is not played ends the connection and is printed.
//!
//! All of 127.0.0.0/8 is this machine's loopback, so that each played pod can have an address of its own there, and one
//! listener for each port answers for all of them. All pipelines are the same: one of each store, whose topics and tables
//! are there and empty. `world` plays the rest of their cluster.

mod cassandra;
mod kafka;

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use millrace_api::Pipeline;
use millrace_api::ports::{CASSANDRA_CQL, KAFKA, ZOOKEEPER_CLIENT};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a server answers to `conf` that has founded an ensemble alone. Names of hosts do not matter here.
const CONF: &str = "clientPort=2181\nserverId=1\nmembership: \nserver.1=a:2888:3888:participant;0.0.0.0:2181\n\
                    version=100000000";

/// The listeners; closed when they are dropped.
pub struct Wire {
    _serving: JoinSet<()>,
}

#[derive(Clone, Copy)]
enum Store {
    ZooKeeper,
    Kafka,
    Cassandra,
}

/// Plays the stores of all pipelines that are like this one.
pub async fn play(pipeline: &Pipeline) -> Result<Wire> {
    let members = (pipeline.zookeeper.replicas, pipeline.kafka.replicas, pipeline.cassandra.nodes());
    ensure!(members == (1, 1, 1), "one of each store is played, not {members:?}");
    let pipeline = Arc::new(pipeline.clone());
    let mut serving = JoinSet::new();
    for (store, port) in
        [(Store::ZooKeeper, ZOOKEEPER_CLIENT), (Store::Kafka, KAFKA), (Store::Cassandra, CASSANDRA_CQL)]
    {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.number)).await;
        let listener = listener.with_context(|| format!("cannot listen on port {} of '{}'", port.number, port.name))?;
        serving.spawn(serve(listener, store, Arc::clone(&pipeline)));
    }
    Ok(Wire { _serving: serving })
}

async fn serve(listener: TcpListener, store: Store, pipeline: Arc<Pipeline>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Nobody but this machine is answered.
                if let Ok((stream, peer)) = accepted && peer.ip().is_loopback() {
                    connections.spawn(answer(stream, store, Arc::clone(&pipeline)));
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Answers one connection until the other side ends it.
async fn answer(mut stream: TcpStream, store: Store, pipeline: Arc<Pipeline>) {
    let Ok(called) = stream.local_addr() else { return };
    let _ = stream.set_nodelay(true);
    let answered = match store {
        Store::ZooKeeper => zookeeper(&mut stream).await,
        Store::Kafka => kafka::answer(&mut stream, called.ip(), &pipeline).await,
        Store::Cassandra => cassandra::answer(&mut stream, called.ip(), &pipeline).await,
    };
    if let Err(error) = answered {
        println!("a played store ended a connection: {error:#}");
    }
}

async fn zookeeper(stream: &mut TcpStream) -> Result<()> {
    let Some(word) = head::<4>(stream).await? else { return Ok(()) };
    let answer = match &word {
        b"srvr" => "Zookeeper version: 3.9.5\nMode: leader\nNode count: 72\n",
        b"conf" => CONF,
        word => bail!("ZooKeeper is asked '{}', which is not played", String::from_utf8_lossy(word)),
    };
    stream.write_all(answer.as_bytes()).await?;
    Ok(())
}

/// Reads what every frame begins with. `None`: there is no further one.
async fn head<const LENGTH: usize>(stream: &mut TcpStream) -> Result<Option<[u8; LENGTH]>> {
    let mut head = [0; LENGTH];
    match stream.read_exact(&mut head).await {
        Ok(_) => Ok(Some(head)),
        // A process that is killed resets what it had open.
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads the rest of a frame.
async fn body(stream: &mut TcpStream, length: u32) -> Result<Vec<u8>> {
    let mut body = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut body).await?;
    Ok(body)
}
