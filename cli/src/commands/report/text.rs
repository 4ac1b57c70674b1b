//! A text → the same text without secrets: what a key that names a secret is given, what URLs carry beside their place, and
//! what has the form of a credential. Pure.
//!
//! It goes by patterns and masks rather too much. What it cannot know is a secret that is called like nothing of the
//! kind, in the middle of a line.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands in place of a secret.
pub(super) const MASKED: &str = "<masked>";

/// What the name of a secret contains.
const WORDS: &str = "pass(?:word|wd|phrase)|pwd|secret|token|authorization|credential|cookie|jaas|\
                     (?:api|access|private|signing|encryption|shared|account)[_.-]?key";

/// Names that contain such a word and name no secret.
const NO_SECRETS: [&str; 6] = [
    "allocate_tokens_for_local_replication_factor",
    "automountServiceAccountToken",
    "num_tokens",
    "secretName",
    "tokenURL",
    "tokenUrl",
];

/// Values that are no secret, without their quotes.
const NO_VALUES: [&str; 5] = ["", "true", "false", "null", "~"];

const QUOTES: [char; 3] = ['\\', '"', '\''];

static SECRET: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("(?i){WORDS}")));

/// Whole lines and lines that follow, before what looks at single words.
static FORMS: LazyLock<[(Regex, &str); 13]> = LazyLock::new(|| {
    let key = format!(r"[\w.-]*(?:{WORDS})[\w.-]*");
    let block = format!(
        r#"(?im)^([ \t]*(?:-[ \t]+)?["']?{key}["']?[ \t]*:[ \t]*)[|>][-+0-9]*[ \t]*\r?\n(?:(?:[ \t]+[^\n]*)?\n)*(?:[ \t]+[^\n]*\z)?"#
    );
    let flag = format!(r"(?i)(\s--?{key}[ \t]+)[^\s-]\S*");
    [
        // Keys in PEM, also one that is cut off; lines of base64 are what is left of one without its beginning.
        (r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)", "<masked>"),
        (r"(?m)^[ \t]*[A-Za-z0-9+/]{60,}={0,2}[ \t]*\r?$", "<masked>"),
        // Blocks of YAML: all lines that are indented below the key.
        (block.as_str(), "${1}<masked>\n"),
        // Variables that a program is given for another.
        (r"(--[a-z-]*env[= ][A-Za-z_][A-Za-z0-9_]*=)[^\n]*", "${1}<masked>"),
        // SASL: what a login module of Java is given, and the messages of SCRAM.
        (r"(LoginModule[ \t]+\w+)[^\n]*", "${1} <masked>"),
        (r#"\b(n,,n=|c=biws,r=)[^\s"']+"#, "${1}<masked>"),
        (r"(?i)\b(bearer|basic)[ \t]+[A-Za-z0-9+/._~=-]{6,}", "${1} <masked>"),
        (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", "<masked>"),
        // A flag and its value behind a space.
        (flag.as_str(), "${1}<masked>"),
        // URLs: user information; query and fragment, also of a path alone, as servers log it.
        (r#"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#"'<>]*@"#, "${1}<masked>@"),
        (r#"([A-Za-z][A-Za-z0-9+.-]*://[^\s?#"']*[?#])[^\s"'<>]+"#, "${1}<masked>"),
        (r#"(?m)((?:^|[\s"'(=])/[^\s?"'<>]*\?)[^\s"'<>]+"#, "${1}<masked>"),
        (r"(?i)(X-Amz-[A-Za-z-]+=)[^\s&]+", "${1}<masked>"),
    ]
    .map(|(form, replacement)| (pattern(form), replacement))
});

/// A key and what it is given: of headers and logins the rest of the line, at the beginning of a line the rest of it,
/// elsewhere a word or what is in quotes.
static KEYED: LazyLock<[Regex; 3]> = LazyLock::new(|| {
    let quoted = r#""(?:[^"\\\n]|\\.)*"?|\\+"[^"\n]*"?|'[^'\n]*'?"#;
    let separator = r#"(?P<separator>(?:\\*["'])?[ \t]*[:=][ \t]*)"#;
    [
        format!(r"(?i)(?P<key>[\w.-]*(?:authorization|cookie|jaas)[\w.-]*){separator}(?P<value>{quoted}|[^\n]+)"),
        format!(
            r#"(?im)^(?P<before>[ \t]*(?:export[ \t]+)?(?:-[ \t]+)?["']?)(?P<key>[\w.-]*(?:{WORDS})[\w.-]*){separator}(?P<value>\S[^\n]*)$"#
        ),
        format!(
            r#"(?i)(?P<key>[\w.-]*(?:{WORDS})[\w.-]*){separator}(?P<value>{quoted}|[^\s,;&"'\\)\]}}]+)"#
        ),
    ]
    .map(|form| pattern(&form))
});

fn pattern(form: &str) -> Regex {
    Regex::new(form).expect("the pattern is ours")
}

/// Returns whether a name is that of a secret.
pub(super) fn is_secret(name: &str) -> bool {
    SECRET.is_match(name) && !NO_SECRETS.contains(&name)
}

/// Returns a text without secrets.
pub(super) fn masked(text: &str) -> String {
    let mut text = text.to_owned();
    for (form, replacement) in FORMS.iter() {
        text = form.replace_all(&text, *replacement).into_owned();
    }
    for form in KEYED.iter() {
        text = form.replace_all(&text, without_value).into_owned();
    }
    text
}

/// Returns what was found without its value, in the quotes that it had.
fn without_value(found: &Captures<'_>) -> String {
    let part = |name| found.name(name).map_or("", |part| part.as_str());
    let (key, value) = (part("key"), part("value"));
    if !is_secret(key) || NO_VALUES.contains(&value.trim_matches(QUOTES)) {
        return found.get(0).map_or("", |whole| whole.as_str()).to_owned();
    }
    let opening = &value[..value.len() - value.trim_start_matches(QUOTES).len()];
    let closing = if opening.is_empty() { "" } else { &value[value.trim_end_matches(QUOTES).len()..] };
    format!("{}{key}{}{opening}{MASKED}{closing}", part("before"), part("separator"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What must never be left; each text has it once or more.
    const PLANTED: &str = "hunter2hunter2";

    #[test]
    fn no_planted_secret_is_left() {
        for text in [
            "2026-01-01 INFO sending Authorization: Bearer hunter2hunter2",
            "Authorization: Token a hunter2hunter2",
            "{\"authorization\":\"Basic hunter2hunter2\",\"level\":\"info\"}",
            "Cookie: id=1; session=hunter2hunter2",
            "cannot reach https://user:hunter2hunter2@example.com/path",
            "postgres://hunter2hunter2@db/x",
            "GET https://example.com/a?page=1&k=hunter2hunter2 answers 500",
            "\"GET /a?k=hunter2hunter2 HTTP/1.1\" 200",
            "opened https://example.com/login#hunter2hunter2",
            "password=hunter2hunter2",
            "  db_password: two words hunter2hunter2",
            "- apiKey: hunter2hunter2",
            "export AWS_SECRET_ACCESS_KEY=hunter2hunter2",
            "login failed: user=a password='a hunter2hunter2', retrying",
            "said {\\\"client_secret\\\": \\\"hunter2hunter2\\\"} to it",
            "{\"a\":1,\"accessToken\":\"x\\\"hunter2hunter2\"}",
            "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=\"a\" password=\"hunter2hunter2\";",
            "PlainLoginModule required username=\"hunter2hunter2\"",
            "SCRAM says n,,n=user,r=hunter2hunter2",
            "run --password hunter2hunter2 now",
            "run --worker-env=GREETING=a hunter2hunter2",
            "-----BEGIN RSA PRIVATE KEY-----\nhunter2hunter2\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nhunter2hunter2",
            "private_key: |\n  hunter2hunter2\n\n  hunter2hunter2\nnext: 1",
            "found eyJhbGciOiJI.hunter2hunter2.sig",
            "https://b.example.com/x?X-Amz-Signature=hunter2hunter2",
        ] {
            // Control: it was there.
            assert!(text.contains(PLANTED), "{text}");
            let masked = masked(text);
            assert!(!masked.contains(PLANTED), "{text}\n{masked}");
            assert!(masked.contains(MASKED), "{masked}");
        }
    }

    #[test]
    fn what_helps_is_left() {
        for text in [
            "2 of 3 brokers are registered; pod 'users-kafka-1' cannot be scheduled: Insufficient memory",
            "zookeeper.connect=users-zookeeper-0.users-zookeeper-nodes.data.svc:2181",
            "num_tokens: 16",
            "automountServiceAccountToken: false",
            "- secretName: shop-token",
            "cannot reach http://sample-source.demo.svc:8080/api",
            "token: null",
            "image: millrace/worker@sha256:0a1b2c",
        ] {
            assert_eq!(masked(text), text);
        }
        assert_eq!(masked("a: 1\npassword: x\nb: 2\n"), "a: 1\npassword: <masked>\nb: 2\n");
        assert_eq!(masked("{\"token\":\"x\",\"a\":1}"), "{\"token\":\"<masked>\",\"a\":1}");
        assert_eq!(masked("http://a:b@c.d/e?f=g h"), "http://<masked>@c.d/e?<masked> h");
    }

    #[test]
    fn masking_twice_changes_nothing() {
        for text in ["password: x", "https://a:b@c/?d", "Authorization: Bearer abcdefgh", "{\"token\": \"x\"}"] {
            let once = masked(text);
            assert_eq!(masked(&once), once);
        }
    }
}
