//! An explanation as a paragraph with its evidence, what to do, and what else there is to know. Pure.

use std::fmt::Write;

use chrono::{DateTime, Utc};

use super::explanation::{Evidence, Explanation, Kind, Verdict};
use crate::screen::{Colour, Screen, printable, span};

/// Draws an explanation.
pub(super) fn paragraph(explanation: &Explanation, now: DateTime<Utc>, screen: &Screen) -> String {
    let Explanation { namespace, pipeline, verdict, cause, since, evidence, fix, figures, also, unread } = explanation;
    let (mark, colour, what) = match verdict {
        Verdict::Well => ("✓", Colour::Green, "is well"),
        Verdict::Held => ("✓", Colour::Yellow, "is ready; restarts wait"),
        Verdict::Slow => ("!", Colour::Yellow, "is ready but slow"),
        Verdict::Degraded => ("!", Colour::Yellow, "is ready, but something does not work"),
        Verdict::NotReady => ("✗", Colour::Red, "is not ready"),
        Verdict::Paused => ("?", Colour::Yellow, "is paused"),
        Verdict::Suspended => ("?", Colour::Yellow, "is suspended or being suspended"),
        Verdict::Unknown => ("?", Colour::Yellow, "may or may not be ready"),
    };
    let name = screen.paint(Colour::Bold, &format!("{namespace}/{pipeline}"));
    let mut text = format!("{} {name} {what}", screen.paint(colour, mark));
    if let Some(since) = since {
        let _ = write!(text, " since {}", with_age(since, now));
    }
    if let Some(cause) = cause {
        let _ = write!(text, ": {}", printable(cause));
    }
    let _ = match (figures.is_empty(), cause) {
        (true, _) => writeln!(text, "."),
        (false, None) => writeln!(text, ": {}.", figures.join(", ")),
        (false, Some(_)) => writeln!(text, ". It has {}.", figures.join(", ")),
    };
    for evidence in evidence {
        let _ = writeln!(text, "  - {}", screen.paint(Colour::Dim, &shown(evidence, now)));
    }
    if let Some(fix) = fix {
        let _ = writeln!(text, "{} {}", screen.paint(Colour::Bold, "what to do:"), fix.text);
        if let Some(command) = &fix.command {
            let _ = writeln!(text, "  {command}");
        }
    }
    for note in also {
        let _ = writeln!(text, "also: {}", printable(note));
    }
    for unread in unread {
        let _ = writeln!(text, "not read: {}", printable(unread));
    }
    text
}

fn shown(evidence: &Evidence, now: DateTime<Utc>) -> String {
    let Evidence { kind, object, reason, time, message } = evidence;
    let (what, when) = match kind {
        Kind::Condition => ("condition", "since"),
        Kind::Event => ("event on", "last"),
        Kind::Source => ("source", "last answered"),
        Kind::Topic => ("topic", "since"),
        Kind::Plan => ("planned:", "since"),
    };
    let mut text = format!("{what} {}", printable(object));
    if !reason.is_empty() {
        let _ = write!(text, " {}", printable(reason));
    }
    if let Some(time) = time {
        let _ = write!(text, ", {when} {}", with_age(time, now));
    }
    let _ = write!(text, ": {}", printable(message));
    text
}

/// Returns a moment with how long ago it was.
fn with_age(moment: &str, now: DateTime<Utc>) -> String {
    let age = moment.parse::<DateTime<Utc>>().ok().and_then(|moment| (now - moment).to_std().ok());
    match age {
        Some(age) => format!("{moment} ({})", span(std::time::Duration::from_secs(age.as_secs()))),
        None => moment.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixes::Fix;
    use super::*;

    fn drawn(explanation: &Explanation) -> String {
        paragraph(explanation, "2026-01-01T00:12:00Z".parse().expect("a moment"), &Screen::default())
    }

    fn well() -> Explanation {
        Explanation {
            namespace: "shop".to_owned(),
            pipeline: "users".to_owned(),
            verdict: Verdict::Well,
            cause: None,
            since: Some("2026-01-01T00:00:00Z".to_owned()),
            evidence: Vec::new(),
            fix: None,
            figures: vec!["brokers 3/3".to_owned(), "lag 0 records".to_owned()],
            also: Vec::new(),
            unread: Vec::new(),
        }
    }

    #[test]
    fn a_pipeline_that_is_well_is_one_line_with_its_figures() {
        assert_eq!(
            drawn(&well()),
            "✓ shop/users is well since 2026-01-01T00:00:00Z (12m): brokers 3/3, lag 0 records.\n"
        );
    }

    #[test]
    fn a_cause_comes_with_its_evidence_and_the_command() {
        let explanation = Explanation {
            verdict: Verdict::NotReady,
            cause: Some("2 of 3 brokers are registered\u{1b}[2J".to_owned()),
            evidence: vec![Evidence {
                kind: Kind::Event,
                object: "Pod users-kafka-1".to_owned(),
                reason: "BackOff".to_owned(),
                time: Some("2026-01-01T00:11:30Z".to_owned()),
                message: "Back-off restarting failed container".to_owned(),
            }],
            fix: Some(Fix { text: "read its log".to_owned(), command: Some("kubectl logs users-kafka-1".to_owned()) }),
            also: vec!["the schedule of source 'x' is paused".to_owned()],
            unread: vec!["events: forbidden".to_owned()],
            ..well()
        };
        assert_eq!(
            drawn(&explanation),
            "✗ shop/users is not ready since 2026-01-01T00:00:00Z (12m): 2 of 3 brokers are registered\\u{1b}[2J. It has \
             brokers 3/3, lag 0 records.\n  - event on Pod users-kafka-1 BackOff, last 2026-01-01T00:11:30Z (30s): Back-off \
             restarting failed container\nwhat to do: read its log\n  kubectl logs users-kafka-1\nalso: the schedule of \
             source 'x' is paused\nnot read: events: forbidden\n"
        );
    }
}
