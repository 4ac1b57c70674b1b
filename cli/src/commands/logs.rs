//! `logs`: what the pods of a pipeline have logged, each line behind its pod's name.

use std::io;

use futures::{AsyncBufReadExt, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt};
use millrace_api::labels::{APPLICATION, INSTANCE_LABEL, NAME_LABEL, RUN_LABEL, pod_selector};
use millrace_api::names::{self, Names};
use snafu::ResultExt;

use super::Context;
use crate::arguments::{Component, Logs};
use crate::cluster::names_of;
use crate::failure::ReadLogSnafu;
use crate::screen::{Colour, printable, write};
use crate::{Failure, Outcome};

/// Pods whose logs are read at the same time.
const AT_ONCE: usize = 32;

/// One container.
struct Container {
    pod: String,
    name: String,
    shown: String,
}

/// Shows logs.
pub async fn run(context: &Context<'_>, flags: &Logs) -> Result<Outcome, Failure> {
    let pipeline = context.cluster.pipeline(flags.pipeline.as_deref()).await?;
    let names = names_of(&pipeline);
    let api: Api<Pod> = context.cluster.api();
    let selected = ListParams::default().labels(&selector(&names, flags));
    let pods = api.list(&selected).await.map_err(Failure::asking("list pods"))?.items;
    let containers: Vec<Container> = pods.iter().flat_map(containers_of).collect();
    if containers.is_empty() {
        return Err(Failure::away(format!("no pod of pipeline '{}' matches", names.pipeline())));
    }
    let params = LogParams {
        follow: flags.follow,
        previous: flags.previous,
        tail_lines: Some(i64::from(flags.tail)),
        ..LogParams::default()
    };
    let mut silent = 0;
    if flags.follow {
        let open = containers.iter().map(|container| Box::pin(lines(&api, container, &params)));
        let mut all = stream::iter(open).flatten_unordered(AT_ONCE);
        while let Some(line) = all.next().await {
            let (container, line) = line?;
            write(&shown(context, container, &line))?;
        }
        return Ok(Outcome::Fine);
    }
    for container in &containers {
        let mut all = Box::pin(lines(&api, container, &params));
        loop {
            match all.next().await {
                Some(Ok((container, line))) => write(&shown(context, container, &line))?,
                // A container that was never started again has no previous log, and one that waits has none at all.
                Some(Err(Failure::Ask { source, .. })) if is_missing(&source) => {
                    silent += 1;
                    break;
                }
                Some(Err(failure)) => return Err(failure),
                None => break,
            }
        }
    }
    if silent == containers.len() {
        let what = if flags.previous { "has restarted, so there is no previous log" } else { "has a log yet" };
        return Err(Failure::mistake(format!("no container {what}")));
    }
    Ok(Outcome::Fine)
}

/// Reads the lines of one container's log.
fn lines<'a>(
    api: &'a Api<Pod>,
    container: &'a Container,
    params: &'a LogParams,
) -> impl futures::Stream<Item = Result<(&'a Container, String), Failure>> + 'a {
    let params = LogParams { container: Some(container.name.clone()), ..params.clone() };
    let opened = async move {
        let what = format!("read the log of pod '{}'", container.pod);
        let log = api.log_stream(&container.pod, &params).await.map_err(Failure::asking(what))?;
        let read = move |line: Result<String, io::Error>| {
            line.context(ReadLogSnafu { pod: &container.pod }).map(|line| (container, line))
        };
        Ok::<_, Failure>(log.lines().map(read))
    };
    stream::once(opened).try_flatten()
}

fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 400)
}

fn shown(context: &Context<'_>, container: &Container, line: &str) -> String {
    format!("{} {}\n", context.screen.paint(Colour::Dim, &container.shown), printable(line))
}

fn containers_of(pod: &Pod) -> Vec<Container> {
    let of_spec = pod.spec.iter().flat_map(|spec| &spec.containers);
    let names: Vec<&String> = of_spec.map(|container| &container.name).collect();
    let named = |name: &&String| Container {
        pod: pod.name_any(),
        name: (*name).clone(),
        shown: if names.len() == 1 { pod.name_any() } else { format!("{}/{name}", pod.name_any()) },
    };
    names.iter().map(named).collect()
}

fn selector(names: &Names, flags: &Logs) -> String {
    let all = format!("{NAME_LABEL}={APPLICATION},{INSTANCE_LABEL}={}", names.pipeline());
    match (&flags.run, flags.component) {
        (Some(run), _) => format!("{all},{RUN_LABEL}={run}"),
        (None, Some(component)) => pod_selector(names, component_of(component)),
        (None, None) => all,
    }
}

fn component_of(component: Component) -> names::Component {
    match component {
        Component::Zookeeper => names::Component::ZooKeeper,
        Component::Kafka => names::Component::Kafka,
        Component::Cassandra => names::Component::Cassandra,
        Component::Producer => names::Component::Producer,
        Component::Processor => names::Component::Processor,
        Component::Run => names::Component::Run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects_by_component_or_run() {
        let names = Names::new("shop", "users");
        let flags = |component, run: Option<&str>| Logs {
            pipeline: None,
            component,
            run: run.map(str::to_owned),
            previous: false,
            follow: false,
            tail: 1,
        };
        let all = "app.kubernetes.io/name=millrace,app.kubernetes.io/instance=users";
        assert_eq!(selector(&names, &flags(None, None)), all);
        assert_eq!(
            selector(&names, &flags(Some(Component::Kafka), None)),
            format!("{all},app.kubernetes.io/component=kafka")
        );
        assert_eq!(selector(&names, &flags(None, Some("orders-x"))), format!("{all},millrace.dev/run=orders-x"));
    }
}
