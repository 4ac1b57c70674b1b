//! Flags that only a source declares, written as `--param NAME=VALUE`. Pure.

use std::collections::BTreeSet;
use std::ffi::OsString;

/// Commands that take the params of a source as flags.
const WITH_PARAMS: [&str; 2] = ["trigger", "backfill"];

/// Writes the flags behind `trigger` and `backfill` that the command does not have as params: `--day x` and `--day=x`
/// as `--param day=x`, and one that nothing follows as `true`.
pub(super) fn with_params(typed: Vec<OsString>, command: &clap::Command) -> Vec<OsString> {
    let is_one = |word: &OsString| word.to_str().is_some_and(|word| WITH_PARAMS.contains(&word));
    let Some(place) = typed.iter().skip(1).position(is_one).map(|place| place + 1) else {
        return typed;
    };
    let name = typed[place].to_string_lossy().into_owned();
    let known: BTreeSet<String> = command
        .find_subcommand(&name)
        .into_iter()
        .flat_map(clap::Command::get_arguments)
        .chain(command.get_arguments())
        .filter_map(|argument| argument.get_long().map(str::to_owned))
        .chain(["help".to_owned(), "version".to_owned()])
        .collect();
    let mut written = typed[..=place].to_vec();
    let mut rest = typed[place + 1..].iter().peekable();
    while let Some(word) = rest.next() {
        let flag = word.to_str().and_then(|word| word.strip_prefix("--")).filter(|flag| !flag.is_empty());
        let Some(flag) = flag.filter(|flag| !known.contains(flag.split('=').next().unwrap_or_default())) else {
            written.push(word.clone());
            continue;
        };
        let value = match flag.contains('=') {
            true => flag.to_owned(),
            false => {
                let follows = rest.next_if(|next| !next.to_string_lossy().starts_with("--"));
                let value = follows.map_or_else(|| "true".into(), |value| value.to_string_lossy().into_owned());
                format!("{flag}={value}")
            }
        };
        written.extend(["--param".into(), value.into()]);
    }
    written
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::*;

    fn parsed(line: &str) -> Result<Arguments, clap::Error> {
        parse(line.split(' ').map(OsString::from))
    }

    fn trigger(line: &str) -> Trigger {
        match parsed(line).map(|arguments| arguments.command) {
            Ok(Command::Trigger(trigger)) => trigger,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_flags_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_of_the_source_are_params_wherever_they_stand() {
        let typed =
            trigger("millrace -n shop trigger --day=2026-01-31 orders --pages -3 --follow --full --output json");
        assert_eq!(typed.source.source, "orders");
        let params = [("day", "2026-01-31"), ("pages", "-3"), ("full", "true")];
        assert_eq!(typed.param, params.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(typed.follow);
    }

    #[test]
    fn a_param_named_like_a_flag_is_given_as_param() {
        let typed = trigger("millrace trigger orders --param follow=yes --duration 5m");
        assert_eq!(typed.param, [("follow".to_owned(), "yes".to_owned())]);
        assert_eq!((typed.follow, typed.duration.as_deref()), (false, Some("5m")));
    }

    #[test]
    fn control_other_commands_refuse_unknown_flags() {
        assert!(parsed("millrace status --day 2026-01-31").is_err());
        assert!(parsed("millrace peek orders --from-offset 3 --since 10m").is_err());
        assert!(parsed("millrace trigger").is_err());
    }

    #[test]
    fn runs_lists_without_a_word() {
        let of = |line| match parsed(line).map(|arguments| arguments.command) {
            Ok(Command::Runs(runs)) => runs,
            other => panic!("{other:?}"),
        };
        assert!(of("millrace runs").action.is_none());
        assert_eq!(of("millrace runs --source orders").list.source.as_deref(), Some("orders"));
        assert!(
            matches!(of("millrace runs cancel a b").action, Some(RunsAction::Cancel { names }) if names.len() == 2)
        );
    }
}
