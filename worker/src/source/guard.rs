//! The guard against server-side request forgery: sources reach public addresses only, unless a host is allowed.
//!
//! A host name is resolved here and *all* its addresses are checked; the client connects to the checked addresses and
//! to no others, so a name that changes its mind between check and connect gains nothing. Hosts that the chart allows
//! (exact names, never from the custom resource) skip the check, but for the metadata addresses of clouds
//! (`terms/src/metadata.rs`) and the networks that the chart forbids: those are reached only where the address itself is
//! allowed. The egress NetworkPolicy is a second wall before the metadata addresses only: others are stopped here or not at
//! all.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use millrace_terms::metadata::METADATA;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use snafu::Snafu;

/// An address that a source must not reach.
#[derive(Clone, Debug, Eq, PartialEq, Snafu)]
#[snafu(display(
    "host '{host}' has the address {address}, which is not public; only hosts in the chart's sources.allowedHosts may have such addresses"
))]
pub struct Forbidden {
    host: String,
    address: IpAddr,
}

/// Decides which hosts and addresses may be reached.
#[derive(Clone, Debug)]
pub struct Guard {
    allowed: Arc<BTreeSet<String>>,
    forbidden: Arc<[IpNet]>,
}

impl Guard {
    /// Makes a guard that lets `allowed` hosts have private addresses.
    pub fn new(allowed: &[String]) -> Self {
        Self::forbidding(allowed, &[])
    }

    /// Makes a guard that lets `allowed` hosts have private addresses, and none have one of the `forbidden` networks.
    pub fn forbidding(allowed: &[String], forbidden: &[IpNet]) -> Self {
        let normalized = allowed.iter().map(|host| bare(host).to_ascii_lowercase());
        Self { allowed: Arc::new(normalized.collect()), forbidden: forbidden.into() }
    }

    /// Checks a URL whose host is an address in itself, in whatever notation; the URL parser has normalized it.
    pub fn check_literal(&self, url: &Url) -> Result<(), Forbidden> {
        let Some(host) = url.host_str() else { return Ok(()) };
        match bare(host).parse::<IpAddr>() {
            Ok(address) => self.check(bare(host), address),
            Err(_) => Ok(()),
        }
    }

    fn check(&self, host: &str, address: IpAddr) -> Result<(), Forbidden> {
        let allowed = self.allowed.contains(&host.to_ascii_lowercase());
        let guarded = is_metadata(address) || self.is_forbidden(address);
        // A name may lead to another address later; an address that is allowed is meant.
        let is_literal = bare(host).parse::<IpAddr>().is_ok();
        match (allowed, guarded) {
            (true, true) if is_literal => Ok(()),
            (_, true) => ForbiddenSnafu { host, address }.fail(),
            (true, false) => Ok(()),
            (false, false) if is_public(address) => Ok(()),
            (false, false) => ForbiddenSnafu { host, address }.fail(),
        }
    }

    fn is_forbidden(&self, address: IpAddr) -> bool {
        let plain = plain(address);
        self.forbidden.iter().any(|net| net.contains(&address) || net.contains(&plain))
    }

    async fn resolve_checked(self, host: String) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
        for address in &addresses {
            self.check(&host, address.ip())?;
        }
        Ok(addresses)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let resolving = self.clone().resolve_checked(name.as_str().to_owned());
        Box::pin(async move { Ok(Box::new(resolving.await?.into_iter()) as Addrs) })
    }
}

/// An IPv6 host without the brackets that URLs put around it.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Returns the IPv4 address that an IPv6 address stands for, or the address itself.
fn plain(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if TRANSLATED_V4.contains(&address) => translated(address),
        other => other,
    }
}

/// Returns whether a cloud tells its machines about themselves at an address.
fn is_metadata(address: IpAddr) -> bool {
    let plain = plain(address);
    METADATA_NETS.iter().any(|net| net.contains(&plain))
}

static METADATA_NETS: LazyLock<Vec<IpNet>> =
    LazyLock::new(|| METADATA.iter().map(|(network, _)| net(network)).collect());

/// Returns whether an address is one of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    if is_metadata(address) {
        return false;
    }
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Where only IPv6 is spoken, a name server gives IPv4-only hosts addresses of this prefix (RFC 6052).
    if TRANSLATED_V4.contains(&address) {
        return is_public(translated(address));
    }
    GLOBAL_UNICAST.contains(&address) && !NOT_PUBLIC_V6.iter().any(|net| net.contains(&address))
}

fn translated(address: Ipv6Addr) -> IpAddr {
    let [.., a, b, c, d] = address.octets();
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// From the IANA special-purpose registry.
static NOT_PUBLIC_V4: LazyLock<Vec<Ipv4Net>> = LazyLock::new(|| {
    nets(&[
        "0.0.0.0/8",       // this network
        "10.0.0.0/8",      // private
        "100.64.0.0/10",   // carrier-grade NAT
        "127.0.0.0/8",     // loopback
        "169.254.0.0/16",  // link-local, cloud metadata among them
        "172.16.0.0/12",   // private
        "192.0.0.0/24",    // protocol assignments
        "192.0.2.0/24",    // documentation
        "192.88.99.0/24",  // 6to4 relays, withdrawn
        "192.168.0.0/16",  // private
        "198.18.0.0/15",   // benchmarks
        "198.51.100.0/24", // documentation
        "203.0.113.0/24",  // documentation
        "224.0.0.0/4",     // multicast
        "240.0.0.0/4",     // reserved and broadcast
    ])
});

/// The only block from which public IPv6 addresses are given out: outside are loopback, unspecified, v4-mapped,
/// unique-local, link-local and multicast.
static GLOBAL_UNICAST: LazyLock<Ipv6Net> = LazyLock::new(|| net("2000::/3"));

static TRANSLATED_V4: LazyLock<Ipv6Net> = LazyLock::new(|| net("64:ff9b::/96"));

static NOT_PUBLIC_V6: LazyLock<Vec<Ipv6Net>> = LazyLock::new(|| {
    nets(&[
        "2001::/23",     // protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32", // documentation
        "2002::/16",     // 6to4, which carries any IPv4 address
        "3fff::/20",     // documentation
    ])
});

fn nets<N: std::str::FromStr<Err: std::fmt::Debug>>(texts: &[&str]) -> Vec<N> {
    texts.iter().map(|text| net(text)).collect()
}

fn net<N: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> N {
    text.parse().expect("the table holds networks")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://127.0.0.1/")]
    #[case("http://127.255.0.3/")]
    #[case("http://2130706433/")] // decimal
    #[case("http://0x7f000001/")] // hexadecimal
    #[case("http://0x7f.1/")]
    #[case("http://0177.0.0.1/")] // octal
    #[case("http://017700000001/")]
    #[case("http://127.1/")] // short
    #[case("http://①②⑦.0.0.1/")] // full-width digits
    #[case("http://0/")]
    #[case("http://0.0.0.0/")]
    #[case("http://10.1.2.3/")]
    #[case("http://100.64.0.1/")]
    #[case("http://100.127.255.255/")]
    #[case("http://169.254.169.254/latest/meta-data/")]
    #[case("http://0xA9FEA9FE/")]
    #[case("http://2852039166/")]
    #[case("http://172.16.0.1/")]
    #[case("http://172.31.255.255/")]
    #[case("http://192.0.0.170/")]
    #[case("http://192.0.2.9/")]
    #[case("http://192.88.99.1/")]
    #[case("http://192.168.1.1/")]
    #[case("http://198.18.0.1/")]
    #[case("http://198.19.255.255/")]
    #[case("http://198.51.100.7/")]
    #[case("http://203.0.113.5/")]
    #[case("http://224.0.0.1/")]
    #[case("http://240.0.0.1/")]
    #[case("http://255.255.255.255/")]
    #[case("http://[::]/")]
    #[case("http://[::1]/")]
    #[case("http://[::ffff:127.0.0.1]/")]
    #[case("http://[::ffff:8.8.8.8]/")]
    #[case("http://[::ffff:a9fe:a9fe]/")]
    #[case("http://[::127.0.0.1]/")] // v4-compatible
    #[case("http://168.63.129.16/machine")] // Azure's WireServer, an address of the public internet
    #[case("http://2822734096/")] // the same in decimal
    #[case("http://[64:ff9b::168.63.129.16]/")]
    #[case("http://192.80.8.124/metadata")]
    #[case("http://100.100.100.200/latest/meta-data/")]
    #[case("http://192.0.0.192/latest/")]
    #[case("http://[fd20:ce::254]/")]
    #[case("http://[64:ff9b::10.0.0.1]/")]
    #[case("http://[64:ff9b:1::1]/")]
    #[case("http://[100::1]/")] // discard
    #[case("http://[2001::1]/")] // Teredo
    #[case("http://[2001:2::1]/")] // benchmarks
    #[case("http://[2001:db8::1]/")]
    #[case("http://[2002:7f00:1::]/")] // 6to4 of 127.0.0.1
    #[case("http://[3fff::1]/")]
    #[case("http://[fc00::1]/")]
    #[case("http://[fd00:ec2::254]/")] // cloud metadata over IPv6
    #[case("http://[fe80::1]/")]
    #[case("http://[ff02::1]/")]
    fn refuses_addresses_that_are_not_public(#[case] url: Url) {
        assert!(Guard::new(&[]).check_literal(&url).is_err(), "{url}");
    }

    #[rstest]
    #[case("http://8.8.8.8/")]
    #[case("http://168.63.129.15/")]
    #[case("http://168.63.129.17/")]
    #[case("http://1.1.1.1/")]
    #[case("http://134744072/")] // 8.8.8.8 in decimal
    #[case("http://100.63.255.255/")]
    #[case("http://100.128.0.0/")]
    #[case("http://172.15.255.255/")]
    #[case("http://172.32.0.0/")]
    #[case("http://192.0.1.0/")]
    #[case("http://198.17.255.255/")]
    #[case("http://223.255.255.255/")]
    #[case("http://[2606:4700:4700::1111]/")]
    #[case("http://[2a00:1450:4001::1]/")]
    #[case("http://[64:ff9b::8.8.8.8]/")]
    fn lets_public_addresses_pass(#[case] url: Url) {
        assert_eq!(Guard::new(&[]).check_literal(&url), Ok(()), "{url}");
    }

    #[test]
    fn allowed_hosts_match_exactly_and_without_case() {
        let guard = Guard::new(&["10.1.2.3".to_owned(), "Sample.Demo.svc".to_owned(), "[fd00::1]".to_owned()]);
        let private = IpAddr::from([10, 1, 2, 3]);
        assert_eq!(guard.check("10.1.2.3", private), Ok(()));
        assert_eq!(guard.check("sample.demo.svc", private), Ok(()));
        assert_eq!(guard.check_literal(&"http://[FD00::1]/".parse().expect("a URL")), Ok(()));
        for host in ["demo.svc", "sample.demo.svc.", "a.sample.demo.svc", "sample.demo.svc.evil.example", "10.1.2.4"] {
            assert!(guard.check(host, private).is_err(), "{host}");
        }
    }

    #[test]
    fn an_allowed_name_may_have_private_addresses_but_none_of_metadata() {
        let guard = Guard::new(&["sample.demo.svc".to_owned(), "169.254.169.254".to_owned()]);
        assert_eq!(guard.check("sample.demo.svc", IpAddr::from([10, 0, 0, 1])), Ok(()));
        for metadata in
            ["169.254.169.254", "168.63.129.16", "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "::ffff:169.254.1.1"]
        {
            let address = metadata.parse().expect("an address");
            assert!(guard.check("sample.demo.svc", address).is_err(), "{metadata}");
        }
        let allowed = guard.check("169.254.169.254", IpAddr::from([169, 254, 169, 254]));
        assert_eq!(allowed, Ok(()), "an address that is allowed itself is meant");
    }

    #[test]
    fn forbidden_networks_are_refused_public_or_allowed() {
        let nets: Vec<IpNet> = nets(&["8.8.8.0/24", "2606:4700::/32", "10.1.0.0/16"]);
        let guard = Guard::forbidding(&["internal.svc".to_owned()], &nets);
        for (host, address) in [
            ("dns.example", "8.8.8.8"),
            ("a.example", "2606:4700::1"),
            ("internal.svc", "10.1.2.3"),
            ("b.example", "64:ff9b::808:808"),
        ] {
            assert!(guard.check(host, address.parse().expect("an address")).is_err(), "{host} {address}");
        }
        assert_eq!(guard.check("internal.svc", IpAddr::from([10, 2, 0, 1])), Ok(()));
        assert_eq!(guard.check("c.example", IpAddr::from([8, 8, 4, 4])), Ok(()));
    }

    #[tokio::test]
    async fn names_are_checked_by_all_their_addresses() {
        let refused = Guard::new(&[]).resolve_checked("localhost".to_owned()).await.expect_err("loopback");
        assert!(refused.is::<Forbidden>(), "{refused}");
        let allowed = Guard::new(&["localhost".to_owned()]).resolve_checked("localhost".to_owned()).await;
        assert!(allowed.is_ok_and(|addresses| !addresses.is_empty()));
    }
}
