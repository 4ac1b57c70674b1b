//! Keys of settings and annotations: which are the operator's, and which cannot work.

use kube::core::Rule;
use kube::core::cel::Message;

use super::rule;

/// Refuses configuration keys that the operator sets itself.
pub fn operator_owned_keys(keys: &[&str]) -> Rule {
    let keys = keys.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(", ");
    let expression = format!("self.all(k, !(k in [{keys}]))");
    Rule::new(expression).message(Message::Expression(format!(
        "'the operator sets ' + self.filter(k, k in [{keys}])[0] + ' itself; remove it here'"
    )))
}

/// Refuses configuration keys, whole or by how they begin, that cannot work in this version, with the reason.
pub fn unsupported_keys(Unsupported { keys, prefixes, reason }: &Unsupported) -> Rule {
    let keys = keys.iter().map(|key| key.replace('.', "[.]"));
    let prefixes = prefixes.iter().map(|prefix| format!("{}.*", prefix.replace('.', "[.]")));
    let refused = format!("k.matches('^({})$')", keys.chain(prefixes).collect::<Vec<_>>().join("|"));
    Rule::new(format!("!self.exists(k, {refused})"))
        .message(Message::Expression(format!("self.filter(k, {refused})[0] + ' cannot be set: {reason}'")))
}

/// Configuration keys that cannot work in this version.
#[derive(Clone, Copy, Debug)]
pub struct Unsupported {
    /// Whole keys.
    pub keys: &'static [&'static str],
    /// What further keys begin with.
    pub prefixes: &'static [&'static str],
    /// Why, and what to do.
    pub reason: &'static str,
}

impl Unsupported {
    /// Returns whether a key is one of them.
    pub fn has(&self, key: &str) -> bool {
        self.keys.contains(&key) || self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }
}

/// Settings that stay on one line each, so that no value can smuggle in a key that the operator owns.
pub fn one_line_settings() -> Rule {
    rule(
        "self.all(k, k.matches('^[A-Za-z0-9._-]{1,200}$') && !self[k].matches('[[:cntrl:]]'))",
        "keys must be letters, digits, '.', '_' and '-', and values one line without control characters",
    )
}

/// Refuses annotations that are the operator's.
pub fn annotations() -> Rule {
    rule(
        "self.all(k, !k.startsWith('millrace.dev/'))",
        "annotations that begin with millrace.dev/ are reserved; use other names",
    )
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    /// Returns what a rule refuses of a key.
    fn pattern(unsupported: &Unsupported) -> Regex {
        let rule = unsupported_keys(unsupported).rule;
        let pattern = rule.trim_start_matches("!self.exists(k, k.matches('").trim_end_matches("'))");
        Regex::new(pattern).expect("a regular expression")
    }

    #[test]
    fn each_key_that_cannot_work_is_refused_with_the_reason_and_no_other_is() {
        let stores = [
            (&crate::crd::kafka::UNSUPPORTED_KEYS[..], crate::crd::kafka::is_refused as fn(&str) -> bool),
            (&crate::crd::cassandra::UNSUPPORTED_KEYS[..], crate::crd::cassandra::is_refused),
            (&crate::crd::zookeeper::UNSUPPORTED_KEYS[..], crate::crd::zookeeper::is_refused),
        ];
        for (all, is_refused) in stores {
            for unsupported in all {
                let pattern = pattern(unsupported);
                for key in unsupported.keys {
                    assert!(pattern.is_match(key) && is_refused(key), "{key}");
                    assert!(!pattern.is_match(&format!("x{key}")) && !pattern.is_match(&format!("{key}x")), "{key}");
                }
                for prefix in unsupported.prefixes {
                    let key = format!("{prefix}something");
                    assert!(pattern.is_match(&key) && is_refused(&key), "{key}");
                    assert!(!pattern.is_match(&format!("x{key}")), "{key}");
                }
                assert!(!unsupported.reason.contains('\''), "it would end the rule's text");
            }
        }
        for works in ["num.io.threads", "log.retention.hours", "message.max.bytes", "replica.selector.class", "sslx"] {
            assert!(!crate::crd::kafka::is_refused(works), "{works}");
        }
        for works in ["concurrent_reads", "commitlog_sync", "authentication", "memtable_heap_space"] {
            assert!(!crate::crd::cassandra::is_refused(works), "{works}");
        }
        for works in ["tickTime", "maxClientCnxns", "autopurge.snapRetainCount", "globalOutstandingLimit"] {
            assert!(!crate::crd::zookeeper::is_refused(works), "{works}");
        }
    }
}
