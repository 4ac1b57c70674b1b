//! `backfill`: a run for each step of a range of time. All are checked before the first is asked for.

use kube::api::PostParams;
use kube::{Api, ResourceExt};
use millrace_api::crd::run::{BACKFILL_LABEL, MAX_ACTIVE};
use millrace_api::crd::{RunTemplate, Source};
use millrace_api::params::rfc3339;
use millrace_api::schedule::{self, BackfillRun, Step, Timetable};
use millrace_api::{IngestionRun, StreamingPipeline};

use super::{Context, peek, source};
use crate::arguments::Backfill;
use crate::screen::{Format, Screen, document, write};
use crate::{Failure, Outcome};

/// Lists the runs, and asks for them unless it is a dry run.
pub async fn run(context: &Context<'_>, flags: &Backfill) -> Result<Outcome, Failure> {
    let (pipeline, wanted) = source::find(context, &flags.source).await?;
    let backfill = backfill_of(flags, &wanted)?;
    let steps = schedule::backfill(&pipeline.name_any(), &wanted.name, &backfill).map_err(Failure::mistake)?;
    let user = source::user(context).await;
    let runs: Vec<IngestionRun> =
        steps.iter().map(|step| run_of(step, &backfill, &pipeline, &wanted, user.as_deref())).collect();
    source::check(&runs, &pipeline, &wanted)?;
    let text = match context.format {
        Format::Table => table(&steps, context.screen),
        format => document(format, &runs),
    };
    write(&text)?;
    if flags.dry_run {
        eprintln!("note: dry run: would create {} runs; nothing was created", runs.len());
        return Ok(Outcome::Fine);
    }
    let api: Api<IngestionRun> = context.cluster.api();
    let mut there = 0;
    for run in &runs {
        match api.create(&PostParams::default(), run).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => there += 1,
            Err(error) => return Err(Failure::asking(format!("create run '{}'", run.name_any()))(error)),
        }
    }
    eprintln!(
        "note: {} runs of backfill '{}' created, at most {} active at once; {there} already existed",
        runs.len() - there,
        backfill.name,
        backfill.max_active
    );
    Ok(Outcome::Fine)
}

fn backfill_of(flags: &Backfill, wanted: &Source) -> Result<schedule::Backfill, Failure> {
    let (from, to) = (peek::moment(&flags.from)?, peek::moment(&flags.to)?);
    let step =
        match (flags.step, wanted.schedule.as_ref().and_then(|schedule| Some((schedule.cron.as_ref()?, schedule)))) {
            (Some(step), _) => Step::Every(step),
            (None, Some((cron, schedule))) => {
                let table = Timetable::parse(cron, &schedule.time_zone);
                Step::Due(Box::new(table.map_err(|(_, problem)| Failure::mistake(problem))?))
            }
            (None, None) => {
                return Err(Failure::mistake(format!(
                    "source '{}' has no due times; set --step, such as 24h",
                    wanted.name
                )));
            }
        };
    Ok(schedule::Backfill {
        name: flags.name.clone().unwrap_or_else(|| schedule::backfill_name(from, to)),
        from,
        to,
        step,
        from_param: flags.from_param.clone(),
        to_param: flags.to_param.clone(),
        params: source::by_name(&flags.param)?,
        max_active: flags.max_active as usize,
    })
}

fn run_of(
    step: &BackfillRun,
    backfill: &schedule::Backfill,
    pipeline: &StreamingPipeline,
    wanted: &Source,
    user: Option<&str>,
) -> IngestionRun {
    let template = wanted.schedule.as_ref().map_or_else(RunTemplate::default, |schedule| schedule.run.clone());
    let mut spec = template.spec(pipeline.name_any(), &wanted.name, step.from);
    spec.params.extend(step.params.clone());
    let mut run = IngestionRun::new(&step.name, spec);
    run.metadata = source::metadata(Some(&step.name), &wanted.name, user);
    run.labels_mut().insert(BACKFILL_LABEL.to_owned(), backfill.name.clone());
    run.annotations_mut().insert(MAX_ACTIVE.to_owned(), backfill.max_active.to_string());
    run
}

fn table(steps: &[BackfillRun], screen: &Screen) -> String {
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|step| {
            let params: Vec<String> = step.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
            vec![step.name.clone(), rfc3339(step.from), rfc3339(step.to), params.join(", ")]
        })
        .collect();
    screen.table(&["RUN", "FROM", "TO", "PARAMS"], &rows)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;
    use crate::arguments::{Command, parse};

    fn source_of(schedule: &str) -> Source {
        serde_json::from_value(json!({
            "name": "orders", "topic": "orders", "key": "id", "generator": {"count": 5},
            "params": [{"name": "day", "type": "timestamp"}, {"name": "pages", "type": "integer", "default": "1"}],
            "schedule": serde_json::from_str::<serde_json::Value>(schedule).expect("JSON"),
        }))
        .expect("a source")
    }

    fn planned(line: &str, schedule: &str) -> Result<Vec<IngestionRun>, String> {
        let arguments = parse(line.split(' ').map(Into::into)).expect("flags");
        let Command::Backfill(flags) = arguments.command else { panic!("another command") };
        let sample = include_str!("../../../e2e/samples/accepted/one-of-each.yaml");
        let pipeline: StreamingPipeline = serde_yaml::from_str(sample).expect("the sample is a pipeline");
        let source = source_of(schedule);
        let backfill = backfill_of(&flags, &source).map_err(|failure| failure.to_string())?;
        let steps = schedule::backfill("shop", "orders", &backfill)?;
        Ok(steps.iter().map(|step| run_of(step, &backfill, &pipeline, &source, Some("jane"))).collect())
    }

    #[test]
    fn a_range_becomes_runs_that_know_of_each_other() {
        let line = "millrace backfill orders --from 2026-01-01 --to 2026-01-03 --step 24h --from-param day --pages 3 --max-active 2";
        let runs = planned(line, "{\"run\": {\"maxRecords\": 7}}").expect("runs");
        assert_snapshot!(serde_yaml::to_string(&runs).expect("YAML"));
    }

    #[test]
    fn due_times_of_the_schedule_are_the_steps_where_none_is_given() {
        let line = "millrace backfill orders --from 2026-01-01 --to 2026-01-03 --from-param day";
        let runs = planned(line, "{\"cron\": \"0 */12 * * *\"}").expect("runs");
        assert_eq!(runs.len(), 4);
        assert_eq!(
            planned(line, "{}").expect_err("no due times"),
            "source 'orders' has no due times; set --step, such as 24h"
        );
        assert!(planned("millrace backfill orders --from 2026-01-03 --to 2026-01-01 --step 1h", "{}").is_err());
    }
}
