//! How many connections each address has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections by address; clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    most: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection's place among those of its address; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    peers: Peers,
    address: IpAddr,
}

impl Peers {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, counts: Arc::default() }
    }

    /// Takes a place. `None`: the address has enough.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { peers: self.clone(), address })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.peers.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_as_many_places_as_it_may_and_leaves_no_trace() {
        let peers = Peers::new(2);
        let address: IpAddr = [10, 0, 0, 1].into();
        let (first, second) = (peers.enter(address), peers.enter("::ffff:10.0.0.1".parse().expect("an address")));
        assert!(first.is_some() && second.is_some());
        assert!(peers.enter(address).is_none(), "both forms are one address");
        assert!(peers.enter([10, 0, 0, 2].into()).is_some(), "another has its own");
        drop((first, second));
        assert!(peers.counts().is_empty());
    }
}
