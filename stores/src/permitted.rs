//! Which hosts of stores that someone else runs may be asked: those that the administrator lists, and never an address at which
//! machines and clouds keep what is their own. Pure.
//!
//! Anyone who writes a pipeline names addresses, and the operator connects to them from inside the cluster.

use std::net::IpAddr;
use std::str::FromStr;

use millrace_api::access::Network;
use millrace_terms::metadata::METADATA;

/// Addresses of IPv4 hosts where only IPv6 is spoken (RFC 6052), without the last four bytes.
const TRANSLATED_V4: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// What the administrator lists. Nothing may be asked by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Permitted {
    entries: Vec<Entry>,
    /// Whether the loopback may be asked, where the stores that tests play listen.
    allows_loopback: bool,
}

/// A host, hosts of a domain, or a block of addresses.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A name, in lower case.
    Name(String),
    /// How names end, from the dot on: `.example.com` of `*.example.com`.
    Suffix(String),
    /// Addresses.
    Block(Network),
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let block = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => Network::parse(&format!("{text}/32")),
            Ok(IpAddr::V6(_)) => Network::parse(&format!("{text}/128")),
            Err(_) => Network::parse(text),
        };
        if let Some(block) = block {
            return Ok(Self::Block(block));
        }
        let is_name = |name: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            !name.is_empty() && !name.starts_with('.') && name.bytes().all(fits)
        };
        match text.strip_prefix("*.") {
            Some(domain) if is_name(domain) => Ok(Self::Suffix(format!(".{}", plain(domain)))),
            None if is_name(text) => Ok(Self::Name(plain(text))),
            Some(_) | None => Err(format!(
                "'{text}' is not a host; write a name, *.DOMAIN or a block of addresses, such as 10.8.0.0/16"
            )),
        }
    }
}

impl FromIterator<Entry> for Permitted {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect(), allows_loopback: false }
    }
}

impl Permitted {
    /// Returns whether a host could have an address that may be asked: judged before its name is resolved.
    pub fn may_ask(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => self.permits(host, address),
            Err(_) => self.lists(host) || self.entries.iter().any(|entry| matches!(entry, Entry::Block(_))),
        }
    }

    /// Returns whether an address may be asked that a host's name has led to.
    pub fn permits(&self, host: &str, address: IpAddr) -> bool {
        !self.is_never_asked(address) && (self.lists(host) || self.has(address))
    }

    /// Returns whether a host is listed by its name.
    pub fn lists(&self, host: &str) -> bool {
        let host = plain(host);
        self.entries.iter().any(|entry| match entry {
            Entry::Name(name) => *name == host,
            Entry::Suffix(suffix) => host.ends_with(suffix.as_str()),
            Entry::Block(_) => false,
        })
    }

    fn has(&self, address: IpAddr) -> bool {
        let address = own(address);
        self.entries.iter().any(|entry| matches!(entry, Entry::Block(block) if block.contains(address)))
    }

    fn is_never_asked(&self, address: IpAddr) -> bool {
        let address = own(address);
        let is_link_local = match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.segments()[0] & 0xffc0 == 0xfe80,
        };
        let is_metadata =
            || METADATA.iter().filter_map(|(network, _)| Network::parse(network)).any(|block| block.contains(address));
        let is_loopback = address.is_loopback() && !self.allows_loopback;
        is_loopback || address.is_unspecified() || address.is_multicast() || is_link_local || is_metadata()
    }

    /// Lets the loopback be asked as well, if it is listed. It is for stores that our own tests play: only builds with debug
    /// assertions do it.
    pub fn with_loopback(self) -> Self {
        Self { allows_loopback: cfg!(debug_assertions), ..self }
    }
}

/// Returns a name in lower case, without the dot that ends an absolute one.
fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Returns the address of IPv4 that one of IPv6 stands for, else the address itself.
fn own(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(translated) if translated.segments()[..6] == TRANSLATED_V4 => {
            let [.., a, b, c, d] = translated.octets();
            IpAddr::from([a, b, c, d])
        }
        canonical => canonical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permitted(entries: &[&str]) -> Permitted {
        entries.iter().map(|entry| entry.parse::<Entry>().expect("an entry")).collect()
    }

    fn permits(permitted: &Permitted, host: &str, address: &str) -> bool {
        permitted.permits(host, address.parse().expect("an address"))
    }

    #[test]
    fn a_listed_name_a_listed_domain_and_a_listed_block_may_be_asked_and_nothing_else() {
        let listed = permitted(&["kafka.example.com", "*.data.svc", "10.8.0.0/16", "192.0.2.7", "fd00:8::/32"]);
        assert!(permits(&listed, "Kafka.Example.com.", "203.0.113.1"));
        assert!(permits(&listed, "users-kafka-0.users-kafka-nodes.data.svc", "203.0.113.1"));
        assert!(permits(&listed, "other", "10.8.3.4"));
        assert!(permits(&listed, "other", "::ffff:10.8.3.4"));
        assert!(permits(&listed, "other", "64:ff9b::10.8.3.4"));
        assert!(permits(&listed, "192.0.2.7", "192.0.2.7"));
        assert!(permits(&listed, "other", "fd00:8::1"));
        // The controls: a longer name, the domain itself, a name that ends alike, and addresses next to the blocks.
        assert!(!permits(&listed, "a.kafka.example.com", "203.0.113.1"));
        assert!(!permits(&listed, "data.svc", "203.0.113.1"));
        assert!(!permits(&listed, "metadata.svc", "203.0.113.1"));
        assert!(!permits(&listed, "other", "10.9.0.1"));
        assert!(!permits(&listed, "192.0.2.8", "192.0.2.8"));
        assert!(!permits(&permitted(&[]), "kafka.example.com", "203.0.113.1"));
    }

    /// A name that was listed may lead anywhere the next time.
    #[test]
    fn no_name_and_no_block_opens_what_machines_and_clouds_keep_for_themselves() {
        let all = permitted(&["kafka.example.com", "0.0.0.0/0", "::/0"]);
        for address in [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
        ] {
            assert!(!permits(&all, "kafka.example.com", address), "{address}");
        }
        assert!(permits(&all, "kafka.example.com", "203.0.113.1"), "the control");
    }

    #[test]
    fn a_name_is_refused_before_it_is_resolved_only_where_nothing_could_permit_it() {
        assert!(permitted(&["10.8.0.0/16"]).may_ask("kafka.example.com"));
        assert!(!permitted(&["10.8.0.0/16"]).may_ask("10.9.0.1"));
        assert!(!permitted(&["*.example.org"]).may_ask("kafka.example.com"));
        assert!(!permitted(&["169.254.0.0/16"]).may_ask("169.254.169.254"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", "*", "*.", "*.*.svc", "kafka:9092", "10.8.0.0/33", "http://kafka", ".svc"] {
            let refused = text.parse::<Entry>().expect_err(text);
            assert!(refused.contains(&format!("'{text}'")), "{refused}");
        }
    }
}
