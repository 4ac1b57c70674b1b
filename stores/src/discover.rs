//! Finds the members of stores that someone else runs, by what the stores say: the only place that follows what a store
//! advertises. An address is judged after each resolution, and before anything connects to it.
//!
//! Messages name addresses, and nothing else of an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use millrace_api::address::HostPort;
use snafu::Snafu;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::cassandra::{NodeKey, Peer, peers};
use crate::kafka::listed_brokers;
use crate::permitted::Permitted;
use crate::reach::Reach;

/// Longest that one question to a member may take: less than to our own, since one that swallows packets must not keep
/// others waiting.
pub const ANSWER: Duration = Duration::from_secs(3);
/// Most members of a store that are looked at, by id: a store may list as many as it likes.
const MOST_MEMBERS: usize = 128;
/// Names that are resolved at once.
const RESOLVED_AT_ONCE: usize = 8;

/// Why a store, or a member of it, cannot be asked.
#[derive(Clone, Debug, Eq, PartialEq, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Unreached {
    #[snafu(display("'{at}' leads to {address}, which the administrator does not allow"))]
    Forbidden { at: String, address: IpAddr },
    #[snafu(display("'{at}' cannot be resolved: {problem}"))]
    Resolve { at: String, problem: String },
    #[snafu(display("'{at}' does not answer: {problem}"))]
    Ask { at: String, problem: String },
    #[snafu(display("broker {broker} advertises no address that clients could use"))]
    ReadAddress { broker: i32 },
    #[snafu(display("none of its nodes is in datacenter '{datacenter}'"))]
    FindDatacenter { datacenter: String },
    #[snafu(display("no address is written"))]
    FindAddress,
}

impl Unreached {
    /// Returns whether only the administrator can help.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }

    /// Returns whether it took time to learn.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Resolve { .. } | Self::Ask { .. })
    }
}

/// The members of a store.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<M> {
    /// Where those are reached that may be asked.
    pub reach: Reach<M>,
    /// Why the first of the others is not asked. `None`: there is no other.
    pub left_out: Option<Unreached>,
}

/// Finds the brokers of a Kafka, by id.
pub async fn brokers(bootstrap: &[HostPort], permitted: &Permitted) -> Result<Found<u32>, Unreached> {
    let listed = first(bootstrap.iter().map(|at| brokers_at(at, permitted)).collect()).await?;
    let listed: Vec<(i32, Option<HostPort>)> = listed.into_iter().take(MOST_MEMBERS).collect();
    let mut resolved = Vec::new();
    for some in listed.chunks(RESOLVED_AT_ONCE) {
        let asked = some.iter().map(|(broker, at)| async move {
            let address = match at {
                Some(at) => resolve(at, permitted).await.map(|addresses| addresses[0]),
                None => Err(Unreached::ReadAddress { broker: *broker }),
            };
            (*broker, address)
        });
        resolved.extend(join_all(asked).await);
    }
    let mut found = Found { reach: Reach::default(), left_out: None };
    let mut addresses = BTreeMap::new();
    for (broker, address) in resolved {
        match address {
            Ok(address) => {
                addresses.insert(broker.cast_unsigned(), address);
            }
            Err(error) => found.left_out = found.left_out.or(Some(error)),
        }
    }
    found.reach = Reach::at(addresses);
    Ok(found)
}

/// Asks one bootstrap server for all brokers, at each of its addresses.
async fn brokers_at(at: &HostPort, permitted: &Permitted) -> Result<BTreeMap<i32, Option<HostPort>>, Unreached> {
    let mut problem = "it has no address".to_owned();
    for address in resolve(at, permitted).await? {
        match timeout(ANSWER, listed_brokers(address)).await {
            Ok(Ok(listed)) => {
                let advertised = listed.into_iter().map(|(id, host, port)| (id, advertised(&host, port)));
                return Ok(advertised.filter(|(id, _)| *id >= 0).collect());
            }
            Ok(Err(error)) => problem = error.to_string(),
            Err(_) => problem = "no answer in time".to_owned(),
        }
    }
    Err(Unreached::Ask { at: at.to_string(), problem })
}

/// Reads what a broker advertises. `None`: it is no host and port.
fn advertised(host: &str, port: i32) -> Option<HostPort> {
    let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
    match host.parse::<Ipv6Addr>() {
        Ok(address) => Some(HostPort { host: address.to_string(), port }),
        Err(_) => format!("{host}:{port}").parse().ok(),
    }
}

/// Finds the nodes of a datacenter of a Cassandra: by their identity, and all of ordinal 0.
pub async fn nodes(
    contact_points: &[HostPort],
    datacenter: &str,
    permitted: &Permitted,
) -> Result<Found<NodeKey>, Unreached> {
    let resolved = join_all(contact_points.iter().map(|at| async move { (at, resolve(at, permitted).await) })).await;
    // Nodes advertise addresses, not names. Those that a listed name leads to are permitted with it.
    let named = resolved.iter().filter(|(at, _)| permitted.lists(&at.host));
    let named: BTreeSet<IpAddr> =
        named.flat_map(|(_, resolved)| resolved.iter().flatten().map(SocketAddr::ip)).collect();
    let peers = first(resolved.into_iter().map(|(at, resolved)| peers_at(at, resolved)).collect()).await?;
    let mut found = Found { reach: Reach::default(), left_out: None };
    let mut addresses = BTreeMap::new();
    for Peer { host_id, address, .. } in peers.into_iter().filter(|peer| peer.datacenter == datacenter) {
        if named.contains(&address.ip()) || permitted.permits(&address.ip().to_string(), address.ip()) {
            addresses.insert((host_id.to_string(), 0), address);
        } else {
            let forbidden = Unreached::Forbidden { at: address.to_string(), address: address.ip() };
            found.left_out = found.left_out.or(Some(forbidden));
        }
    }
    if addresses.is_empty() {
        let nobody = Unreached::FindDatacenter { datacenter: datacenter.to_owned() };
        return Err(found.left_out.unwrap_or(nobody));
    }
    found.reach = Reach::at(addresses);
    Ok(found)
}

async fn peers_at(at: &HostPort, resolved: Result<Vec<SocketAddr>, Unreached>) -> Result<Vec<Peer>, Unreached> {
    let mut problem = "it has no address".to_owned();
    for address in resolved? {
        match timeout(ANSWER, peers(address)).await {
            Ok(Ok(mut found)) => {
                found.sort_by_key(|peer| peer.host_id);
                found.truncate(MOST_MEMBERS);
                return Ok(found);
            }
            Ok(Err(error)) => problem = error.to_string(),
            Err(_) => problem = "no answer in time".to_owned(),
        }
    }
    Err(Unreached::Ask { at: at.to_string(), problem })
}

/// Awaits all at once. Returns the first that succeeds, else why one failed: best of all what only the administrator can
/// change.
async fn first<T, F>(mut asked: FuturesUnordered<F>) -> Result<T, Unreached>
where
    F: Future<Output = Result<T, Unreached>>,
{
    let mut failed: Option<Unreached> = None;
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(answer) => return Ok(answer),
            Err(error) if error.is_forbidden() => failed = Some(error),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    Err(failed.unwrap_or(Unreached::FindAddress))
}

/// Returns the addresses of a host that may be asked: at least one.
async fn resolve(at: &HostPort, permitted: &Permitted) -> Result<Vec<SocketAddr>, Unreached> {
    let failed = |problem: String| Unreached::Resolve { at: at.to_string(), problem };
    let resolved: Vec<SocketAddr> = match timeout(ANSWER, lookup_host((at.host.as_str(), at.port))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed("no answer in time".to_owned())),
    };
    let (allowed, forbidden): (Vec<SocketAddr>, Vec<SocketAddr>) =
        resolved.into_iter().partition(|address| permitted.permits(&at.host, address.ip()));
    match (allowed.is_empty(), forbidden.first()) {
        (false, _) => Ok(allowed),
        (true, Some(forbidden)) => Err(Unreached::Forbidden { at: at.to_string(), address: forbidden.ip() }),
        (true, None) => Err(failed("it has no address".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
    use kafka_protocol::messages::{BrokerId, MetadataResponse};
    use kafka_protocol::protocol::Encodable;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::permitted::Entry;

    /// Returns what permits all that is played here.
    fn loopback() -> Permitted {
        let block = "127.0.0.0/8".parse::<Entry>().expect("a block");
        [block].into_iter().collect::<Permitted>().with_loopback()
    }

    /// Plays a broker that lists these, and returns where.
    async fn broker(listed: Vec<(i32, &'static str, i32)>) -> HostPort {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let length = stream.read_u32().await.expect("a request");
                let mut request = vec![0; length as usize];
                stream.read_exact(&mut request).await.expect("a whole request");
                let brokers = listed.iter().map(|(id, host, port)| {
                    MetadataResponseBroker::default()
                        .with_node_id(BrokerId(*id))
                        .with_host((*host).into())
                        .with_port(*port)
                });
                let answer = MetadataResponse::default().with_brokers(brokers.collect());
                // Correlation, no tags.
                let mut frame = bytes::BytesMut::from(&[&request[4..8], &[0]].concat()[..]);
                answer.encode(&mut frame, 12).expect("it encodes");
                stream.write_u32(frame.len() as u32).await.expect("it is read");
                stream.write_all(&frame).await.expect("it is read");
            }
        });
        HostPort { host: "127.0.0.1".to_owned(), port }
    }

    #[tokio::test]
    async fn brokers_are_found_by_id_and_what_may_not_be_asked_is_left_out() {
        let at = broker(vec![(1001, "127.0.0.1", 9), (7, "169.254.169.254", 80), (3, "10.0.0.1", 9092)]).await;
        let found = brokers(&[at], &loopback()).await.expect("it answers");
        let reached: Vec<(u32, String)> =
            found.reach.members().map(|(broker, address)| (*broker, address.to_string())).collect();
        assert_eq!(reached, [(1001, "127.0.0.1:9".to_owned())]);
        assert!(found.left_out.expect("two are").is_forbidden());
    }

    #[tokio::test]
    async fn nothing_is_asked_that_nobody_listed() {
        let at = broker(vec![(0, "127.0.0.1", 9)]).await;
        let refused = brokers(std::slice::from_ref(&at), &Permitted::default()).await.expect_err("it is not listed");
        assert_eq!(refused, Unreached::Forbidden { at: at.to_string(), address: "127.0.0.1".parse().expect("one") });
        // The control: the same broker, listed.
        assert!(brokers(&[at], &loopback()).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_advertised_as_no_host_is_left_out_and_not_repeated() {
        let at = broker(vec![(0, "<script>", 9)]).await;
        let found = brokers(&[at], &loopback()).await.expect("it answers");
        let left_out = found.left_out.expect("it is left out").to_string();
        assert!(found.reach.members().next().is_none() && !left_out.contains("script"), "{left_out}");
    }

    /// The first that answers is enough.
    #[tokio::test]
    async fn a_bootstrap_server_that_is_away_delays_nothing() {
        let at = broker(vec![(0, "127.0.0.1", 9)]).await;
        let away = HostPort { host: "127.0.0.1".to_owned(), port: 1 };
        let found = brokers(&[away.clone(), at], &loopback()).await.expect("one answers");
        assert_eq!(found.reach.members().count(), 1);
        let refused = brokers(&[away], &loopback()).await.expect_err("nobody answers");
        assert!(refused.to_string().starts_with("'127.0.0.1:1' does not answer: "), "{refused}");
    }
}
