//! Which page comes after an answer. Pure.
//!
//! A page that was fetched already in the same poll, one on another host, and one beyond the bound are not followed: a
//! server that goes round in circles is a failure that somebody has to fix, never an endless poll.

use std::collections::HashSet;

use millrace_terms::{FollowPages, PaginationSettings};
use reqwest::Url;

/// The pages of one poll.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    settings: PaginationSettings,
    /// Addresses that were fetched.
    fetched: HashSet<String>,
    /// Number or offset of the page that comes next.
    position: u64,
}

/// What an answer says of the pages after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'answer> {
    /// The values of its `Link` headers, joined by commas.
    pub(super) link: &'answer str,
    /// What stands at the pointer of the cursor, as JSON. Absent: nothing.
    pub(super) cursor: Option<&'answer str>,
    /// How many records it has.
    pub(super) records: u64,
}

/// What comes after a page.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum After {
    /// Another page.
    Page(Url),
    /// Nothing: this was the last one.
    End,
    /// Nothing, although there are more pages than the bound allows.
    Bound,
}

impl Pages {
    /// Begins a poll.
    pub(super) fn new(settings: &PaginationSettings) -> Self {
        let position = match settings.follow {
            FollowPages::Page { first, .. } | FollowPages::Offset { first, .. } => first,
            FollowPages::Link | FollowPages::Cursor { .. } => 0,
        };
        Self { settings: settings.clone(), fetched: HashSet::new(), position }
    }

    /// Returns the address of the first page.
    pub(super) fn first(&self, url: &Url) -> Url {
        let mut url = url.clone();
        match &self.settings.follow {
            FollowPages::Page { parameter, .. } | FollowPages::Offset { parameter, .. } => {
                set(&mut url, parameter, &self.position.to_string());
            }
            FollowPages::Link | FollowPages::Cursor { .. } => {}
        }
        url
    }

    /// Decides what comes after the page at `url`. The error says why the next page must not be fetched.
    pub(super) fn after(&mut self, url: &Url, said: Said<'_>) -> Result<After, String> {
        self.fetched.insert(url.to_string());
        let next = match &self.settings.follow {
            FollowPages::Link => match next_link(said.link) {
                Some(link) => Some(resolve(url, link)?),
                None => None,
            },
            FollowPages::Cursor { parameter, .. } => match said.cursor.map(cursor_of).transpose()?.flatten() {
                Some(cursor) => Some(match parameter {
                    Some(parameter) => with(url, parameter, &cursor),
                    None => resolve(url, &cursor)?,
                }),
                None => None,
            },
            FollowPages::Page { parameter, .. } => {
                self.position += 1;
                (said.records > 0).then(|| with(url, parameter, &self.position.to_string()))
            }
            FollowPages::Offset { parameter, .. } => {
                self.position += said.records;
                (said.records > 0).then(|| with(url, parameter, &self.position.to_string()))
            }
        };
        let Some(next) = next else { return Ok(After::End) };
        if self.fetched.contains(next.as_str()) {
            return Err(format!("leads from page {} back to one that was fetched already", self.fetched.len()));
        }
        let more = self.fetched.len() < self.settings.max_pages as usize;
        Ok(if more { After::Page(next) } else { After::Bound })
    }
}

fn with(url: &Url, parameter: &str, value: &str) -> Url {
    let mut next = url.clone();
    set(&mut next, parameter, value);
    next
}

/// Sets a parameter of the query, and leaves the others as they are.
fn set(url: &mut Url, parameter: &str, value: &str) {
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != parameter)
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(others).append_pair(parameter, value);
}

/// Reads the address of the next page. Headers may carry credentials, so another host, port or scheme is refused.
fn resolve(url: &Url, link: &str) -> Result<Url, String> {
    let next = url.join(link).map_err(|error| format!("names a next page that is no address: {error}"))?;
    match next.origin() == url.origin() && next.username().is_empty() && next.password().is_none() {
        true => Ok(next),
        false => Err("names a next page on another host, port or scheme, which is not followed".to_owned()),
    }
}

/// Reads a cursor: a text or a number; null, an empty text and false mean that there is none.
fn cursor_of(json: &str) -> Result<Option<String>, String> {
    match json.as_bytes().first() {
        Some(b'n' | b'f') => Ok(None),
        Some(b'"') => Ok(millrace_expressions::json::string(json).filter(|text| !text.is_empty()).map(Into::into)),
        Some(b'[' | b'{' | b't') | None => Err("has a cursor that is neither a text nor a number".to_owned()),
        Some(_) => Ok(Some(json.to_owned())),
    }
}

/// Finds the target of the link whose relation is `next` (RFC 8288).
fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some(begin) = rest.find('<') {
        let end = begin + rest[begin..].find('>')?;
        let target = &rest[begin + 1..end];
        let parameters = &rest[end + 1..];
        let length = end_of_link(parameters);
        let is_next = parameters[..length].split(';').filter_map(|one| one.split_once('=')).any(|(name, value)| {
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel") && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target);
        }
        rest = &parameters[length..];
    }
    None
}

/// Returns where the parameters of a link end: at a comma that is in no quotes.
fn end_of_link(parameters: &str) -> usize {
    let mut quoted = false;
    let comma = parameters.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    });
    comma.unwrap_or(parameters.len())
}

#[cfg(test)]
mod tests {
    use millrace_fuzz::{Corpus, feed};
    use serde_json::value::RawValue;

    use super::*;

    fn pages(follow: FollowPages) -> Pages {
        Pages::new(&PaginationSettings { follow, max_pages: 3 })
    }

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    fn said(link: &str) -> Said<'_> {
        Said { link, cursor: None, records: 2 }
    }

    #[test]
    fn follows_the_link_whose_relation_is_next() {
        for (header, next) in [
            (r#"<https://a.b/x?page=2>; rel="next", <https://a.b/x?page=9>; rel="last""#, Some("https://a.b/x?page=2")),
            (r#"<https://a.b/x?a=1,2>; title="one, two"; rel=prev, </y>; rel="start next""#, Some("/y")),
            (r#"<https://a.b/x>; rel="last""#, None),
            ("", None),
            ("<broken", None),
        ] {
            assert_eq!(next_link(header), next, "{header}");
        }
        let mut pages = pages(FollowPages::Link);
        let after = pages.after(&url("https://a.b/x"), said("</x?page=2>; rel=next"));
        assert_eq!(after, Ok(After::Page(url("https://a.b/x?page=2"))));
    }

    #[test]
    fn another_host_a_circle_and_the_bound_end_a_poll() {
        let other = pages(FollowPages::Link).after(&url("https://a.b/x"), said("<https://evil.example/x>; rel=next"));
        assert!(other.expect_err("another host").contains("another host"));
        let mut circle = pages(FollowPages::Link);
        circle.after(&url("https://a.b/1"), said("</2>; rel=next")).expect("a page");
        let back = circle.after(&url("https://a.b/2"), said("</1>; rel=next"));
        assert_eq!(back, Err("leads from page 2 back to one that was fetched already".to_owned()));
        let mut bound = pages(FollowPages::Page { parameter: "p".to_owned(), first: 1 });
        let mut page = bound.first(&url("https://a.b/x?limit=2"));
        assert_eq!(page.as_str(), "https://a.b/x?limit=2&p=1");
        for number in 2..4 {
            let After::Page(next) = bound.after(&page, said("")).expect("a page") else { panic!("more pages") };
            assert_eq!(next.as_str(), format!("https://a.b/x?limit=2&p={number}"));
            page = next;
        }
        assert_eq!(bound.after(&page, said("")), Ok(After::Bound));
    }

    #[test]
    fn a_cursor_is_a_parameter_or_an_address() {
        let follow = |parameter: Option<&str>| FollowPages::Cursor {
            pointer: "/next".to_owned(),
            parameter: parameter.map(str::to_owned),
        };
        let with = |parameter, cursor| {
            let said = Said { link: "", cursor, records: 1 };
            pages(follow(parameter)).after(&url("https://a.b/x?cursor=0&n=1"), said)
        };
        let after = |cursor| with(Some("cursor"), cursor);
        let page = |text: &str| Ok(After::Page(url(text)));
        assert_eq!(after(Some("\"a b\"")), page("https://a.b/x?n=1&cursor=a+b"));
        assert_eq!(after(Some("12345678901234567890123")), page("https://a.b/x?n=1&cursor=12345678901234567890123"));
        assert_eq!(after(Some("\"/q==\"")), page("https://a.b/x?n=1&cursor=%2Fq%3D%3D"));
        assert_eq!(with(None, Some("\"/x?after=7\"")), page("https://a.b/x?after=7"));
        for none in [None, Some("null"), Some("\"\""), Some("false")] {
            assert_eq!(after(none), Ok(After::End), "{none:?}");
        }
        assert!(after(Some("[1]")).is_err());
    }

    #[test]
    fn an_offset_moves_by_what_came_and_an_empty_page_is_the_end() {
        let mut pages = pages(FollowPages::Offset { parameter: "offset".to_owned(), first: 0 });
        let first = pages.first(&url("https://a.b/x"));
        assert_eq!(pages.after(&first, said("")), Ok(After::Page(url("https://a.b/x?offset=2"))));
        let empty = Said { records: 0, ..said("") };
        assert_eq!(pages.after(&url("https://a.b/x?offset=2"), empty), Ok(After::End));
    }

    /// Whatever a server says comes next: it is at the server, or it is not followed.
    #[test]
    fn no_link_or_cursor_breaks_a_poll() {
        let inputs: &[&[u8]] = &[
            br#"<https://a.b/x?page=2>; rel="next", <https://a.b/x?page=9>; rel="last""#,
            br#"<https://a.b/x?a=1,2>; title="one, two"; rel=prev, </y>; rel="start next""#,
            b"\"/x?after=7\"",
            b"12345678901234567890123",
        ];
        let words = &[
            "<", ">", ";", ",", "\"", "=", "rel=next", "https://", "//", "@", "..", "\\", "%2f", "?", "#", "[::1]",
            "null",
        ];
        let corpus = Corpus { inputs, words, longest: 8 << 10 };
        let cursor = |parameter| FollowPages::Cursor { pointer: "/next".to_owned(), parameter };
        let follows = [FollowPages::Link, cursor(Some("cursor".to_owned())), cursor(None)];
        let at = url("https://a.b/x?cursor=0&n=1");
        feed("links and cursors", corpus, |input| {
            let said = String::from_utf8_lossy(input);
            let as_text = serde_json::to_string(&said).expect("a text");
            let as_json = serde_json::from_str::<&RawValue>(&said).ok().map(RawValue::get);
            for follow in &follows {
                for cursor in [as_json, Some(as_text.as_str())] {
                    let answer = Said { link: &said, cursor, records: 1 };
                    if let Ok(After::Page(next)) = pages(follow.clone()).after(&at, answer) {
                        assert_eq!(next.origin(), at.origin());
                    }
                }
            }
        });
    }
}
