//! `trigger`: asks for one run of a source, with params as flags.

use kube::api::PostParams;
use kube::{Api, ResourceExt};
use millrace_api::IngestionRun;
use millrace_api::crd::{IngestionRunSpec, Retries};
use serde_json::{Value, json};

use super::{Context, follow, source};
use crate::arguments::Trigger;
use crate::screen::{Format, document, write};
use crate::{Failure, Outcome};

/// Asks for a run, and perhaps waits for its end.
pub async fn run(context: &Context<'_>, flags: &Trigger) -> Result<Outcome, Failure> {
    let (pipeline, wanted) = source::find(context, &flags.source).await?;
    if flags.params {
        let text = match (context.format, wanted.params.is_empty()) {
            (Format::Table, true) => format!("source '{}' has no params\n", wanted.name),
            (Format::Table, false) => source::params(&wanted.params, context.screen),
            (format, _) => document(format, &wanted.params),
        };
        write(&text)?;
        return Ok(Outcome::Fine);
    }
    let user = source::user(context).await;
    let mut run = IngestionRun::new("", spec(flags, &pipeline.name_any())?);
    run.metadata = source::metadata(flags.name.as_deref(), &wanted.name, user.as_deref());
    run.metadata.namespace = Some(context.cluster.namespace.clone());
    source::check(std::slice::from_ref(&run), &pipeline, &wanted)?;
    if flags.dry_run {
        let format = if context.format == Format::Json { Format::Json } else { Format::Yaml };
        write(&document(format, &run))?;
        return Ok(Outcome::Fine);
    }
    let api: Api<IngestionRun> = context.cluster.api();
    let asked = api.create(&PostParams::default(), &run).await.map_err(Failure::asking("create the run"))?;
    let name = asked.name_any();
    if flags.follow {
        eprintln!("run '{name}' of source '{}' is created", wanted.name);
        return follow::until_end(context, &name).await;
    }
    let text = match context.format {
        Format::Table => format!("run '{name}' is created; `millrace runs show {name}` shows its progress\n"),
        format => document(format, &asked),
    };
    write(&text)?;
    Ok(Outcome::Fine)
}

fn spec(flags: &Trigger, pipeline: &str) -> Result<IngestionRunSpec, Failure> {
    let mut spec = json!({
        "pipeline": pipeline,
        "source": flags.source.source,
        "params": source::by_name(&flags.param)?,
        "maxRecords": flags.max_records,
        "duration": flags.duration,
        "retries": flags.retries.map_or_else(Retries::default, |limit| Retries { limit, ..Retries::default() }),
    });
    if let (Some(timeout), Value::Object(fields)) = (&flags.timeout, &mut spec) {
        fields.insert("timeout".to_owned(), json!(timeout));
    }
    serde_json::from_value(spec).map_err(|error| Failure::mistake(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::arguments::{Command, parse};

    #[test]
    fn flags_become_the_spec_of_a_run() {
        let line = "millrace trigger orders --day 2026-01-31 --max-records 5 --retries 0 --timeout 5m";
        let arguments = parse(line.split(' ').map(Into::into)).expect("flags");
        let Command::Trigger(flags) = arguments.command else { panic!("another command") };
        let spec = spec(&flags, "shop").expect("a spec");
        assert_eq!((spec.pipeline.as_str(), spec.source.as_str()), ("shop", "orders"));
        assert_eq!(spec.params, BTreeMap::from([("day".to_owned(), "2026-01-31".to_owned())]));
        assert_eq!((spec.max_records, spec.duration, spec.retries.limit), (Some(5), None, 0));
        assert_eq!(spec.timeout, "5m");
    }
}
