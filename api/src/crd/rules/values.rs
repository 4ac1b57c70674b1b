//! Values of one field: durations, bytes, addresses, images, types and schedules.

use kube::core::Rule;

use super::rule;

/// Refuses to scale to no processor: one that starts is not there soon enough for the first record.
pub fn at_least_one_processor() -> Rule {
    rule(
        "self >= 1",
        "scaling to 0 is not supported, since a first record would wait for a processor to start; use 1 or more, or set spec.processor.replicas to 0 to stop writing",
    )
}

/// A duration such as `500ms`, `30s` or `1m30s`. The schema bounds its length.
pub fn duration() -> Rule {
    rule(
        "self.matches('^([0-9]{1,6}(ms|s|m|h))+$')",
        "must be a duration: whole numbers with ms, s, m or h, such as 500ms, 30s or 1m30s",
    )
}

/// A duration within bounds, both inclusive, as CEL duration texts.
pub fn duration_between(least: &str, most: &str) -> Rule {
    rule(
        format!(
            "!self.matches('^([0-9]{{1,6}}(ms|s|m|h))+$') || \
             (duration(self) >= duration('{least}') && duration(self) <= duration('{most}'))"
        ),
        format!("must be at least {least} and at most {most}"),
    )
}

/// A whole number of bytes such as `16Mi`.
pub fn bytes() -> Rule {
    rule("self.matches('^[0-9]{1,15}(Ki|Mi|Gi|Ti|k|M|G|T)?$')", "must be a whole number of bytes, such as 16Mi or 5Gi")
}

/// Bytes within bounds, both inclusive.
pub fn bytes_between(least: &str, most: &str) -> Rule {
    rule(
        format!(
            "!isQuantity(self) || (quantity(self).compareTo(quantity('{least}')) >= 0 && \
             quantity(self).compareTo(quantity('{most}')) <= 0)"
        ),
        format!("must be at least {least} and at most {most}"),
    )
}

/// A quantity within bounds, both inclusive.
pub fn amount_between(least: &str, most: &str) -> Rule {
    rule(
        format!(
            "quantity(string(self)).compareTo(quantity('{least}')) >= 0 && \
             quantity(string(self)).compareTo(quantity('{most}')) <= 0"
        ),
        format!("must be at least {least} and at most {most}"),
    )
}

/// An `http` or `https` address with a host and without user information.
pub fn http_url() -> Rule {
    rule(
        "isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != '' && \
         !self.matches('^[a-z]+://[^/?#]*@')",
        "must be an http:// or https:// URL with a host and without user information; put credentials in headers from a Secret",
    )
}

/// An image reference: repository with an optional registry, and a tag or digest.
pub fn image() -> Rule {
    let (tag, digest) = (":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", "@sha256:[a-f0-9]{64}");
    rule(
        format!(
            "self.matches('^([a-z0-9.-]+(:[0-9]{{1,5}})?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*({tag}({digest})?|{digest})$')"
        ),
        "must be an image reference with a tag or digest, such as registry.example.com/team/image:1.2.3",
    )
}

/// A CQL type as far as an expression can tell; whether its parts fit together is judged by `validate`.
pub fn cql_type() -> Rule {
    rule(
        "self.matches('^[a-z][a-z0-9_<>, ]*$') && size(self.replace('<', '')) == size(self.replace('>', ''))",
        "must be a CQL type, such as text, set<int> or map<text, frozen<list<int>>>",
    )
}

/// Refuses counters: adding is not idempotent.
pub fn no_counter() -> Rule {
    rule(
        "!self.matches('(^|[^a-z0-9_])counter([^a-z0-9_]|$)')",
        "a counter cannot be written idempotently: a record that is delivered twice would be counted twice; use bigint and let the record carry the total",
    )
}

/// Refuses lists with a cell per element: their cells are named anew at each write, so that a repeated one adds to them.
pub fn list_is_frozen() -> Rule {
    rule(
        "!self.matches('^list *<')",
        "a list that is not frozen cannot be written idempotently: a record that is delivered twice would duplicate \
         its elements; use frozen<list<…>>",
    )
}

/// A cron expression as far as an expression can tell; the rest is judged by `validate`.
pub fn cron() -> Rule {
    rule(
        "self.matches('^[^ ]+ [^ ]+ [^ ]+ [^ ]+ [^ ]+$')",
        "must be a cron expression of five fields: minute, hour, day of month, month, day of week, such as '0 2 * * *'",
    )
}

/// The name of a time zone as far as an expression can tell; the rest is judged by `validate`.
pub fn time_zone() -> Rule {
    rule("self.matches('^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$')", "must be an IANA time zone, such as Europe/Berlin")
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn an_image_has_a_tag_or_a_digest_or_both() {
        let rule = image().rule;
        let pattern = rule.trim_start_matches("self.matches('").trim_end_matches("')");
        let pattern = Regex::new(pattern).expect("a regular expression");
        let digest = format!("@sha256:{}", "0a".repeat(32));
        for image in ["a:1", "a/b:1.2-rc", "registry.example.com:5000/team/image:v1"] {
            assert!(pattern.is_match(image), "{image}");
            assert!(pattern.is_match(&format!("{image}{digest}")), "{image} with a digest");
        }
        assert!(pattern.is_match(&format!("registry.example.com:5000/image{digest}")));
        for wrong in
            ["a", "registry.example.com:5000/image", "a:", "a:1:2", "A:1", "a b:1", "a:1@sha256:0a", "a@sha256:"]
        {
            assert!(!pattern.is_match(wrong), "{wrong}");
        }
    }
}
