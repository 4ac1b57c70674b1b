//! How the members of a store are reached: every client is given this, and knows neither pods nor ports itself
//! (docs/decisions/0017-reach.md).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use millrace_api::ports::Port;

/// Where each member of one store is reached, by what names a member there: a server's or broker's ordinal, a node's rack
/// and ordinal. Members without an address are left out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reach<M> {
    addresses: BTreeMap<M, SocketAddr>,
}

impl<M> Default for Reach<M> {
    fn default() -> Self {
        Self { addresses: BTreeMap::new() }
    }
}

impl<M: Clone + Ord> Reach<M> {
    /// Reaches members at their pods' own addresses.
    pub fn of_pods(pods: &BTreeMap<M, IpAddr>, port: Port) -> Self {
        let addresses = pods.iter().map(|(member, address)| (member.clone(), SocketAddr::new(*address, port.number)));
        Self { addresses: addresses.collect() }
    }

    /// Reaches members at addresses and ports of their own, such as forwarded ones.
    pub fn at(addresses: BTreeMap<M, SocketAddr>) -> Self {
        Self { addresses }
    }

    /// Returns where a member is reached. `None`: nowhere.
    pub fn of(&self, member: &M) -> Option<SocketAddr> {
        self.addresses.get(member).copied()
    }

    /// Returns every member and where it is reached, in order.
    pub fn members(&self) -> impl Iterator<Item = (&M, SocketAddr)> {
        self.addresses.iter().map(|(member, address)| (member, *address))
    }
}
