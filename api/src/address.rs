//! A host and a port, as written: `kafka.example.com:9092`, `10.8.0.1:9092` or `[fd00::1]:9092`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Longest text: a host name has at most 253 characters.
const LONGEST: usize = 260;

/// A host and a port.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct HostPort {
    /// A name, in lower case, or an address; one of IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused =
            || format!("'{text}' is not a host and a port; write them as host:port, such as kafka.example.com:9092");
        if text.len() > LONGEST { Err(refused()) } else { parsed(text).ok_or_else(refused) }
    }
}

fn parsed(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port: &u16| *port > 0)?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.to_string(),
        None if is_name(host) => host.to_ascii_lowercase(),
        None => return None,
    };
    Some(HostPort { host, port })
}

/// Returns whether a text can be a host's name, or an address of IPv4.
fn is_name(host: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !host.is_empty() && host.bytes().all(fits)
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Kafka.Example.com:9092", "kafka.example.com:9092")]
    #[case("10.8.0.1:19092", "10.8.0.1:19092")]
    #[case("[FD00::1]:9092", "[fd00::1]:9092")]
    fn an_address_is_a_host_and_a_port(#[case] written: &str, #[case] read: &str) {
        assert_eq!(written.parse::<HostPort>().expect("an address").to_string(), read);
    }

    #[rstest]
    #[case("kafka.example.com")]
    #[case("kafka.example.com:")]
    #[case("kafka.example.com:0")]
    #[case("kafka.example.com:65536")]
    #[case(":9092")]
    #[case("fd00::1:9092")] // where the address ends is unknown
    #[case("[kafka]:9092")]
    #[case("kafka/x:9092")]
    #[case("http://kafka:9092")]
    fn anything_else_is_refused_with_what_to_write(#[case] written: &str) {
        let refused = written.parse::<HostPort>().expect_err("it is none");
        assert!(refused.contains(&format!("'{written}'")) && refused.contains("write them as host:port"), "{refused}");
    }
}
