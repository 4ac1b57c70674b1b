//! The console's page in Debian's Chromium: what a newcomer does, axe in both themes, the layout on a phone and on wide
//! pages, the console away, and a reader whose buttons are off (`console/web/tests/run.sh`).

use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_e2e::cluster::repository;
use millrace_e2e::console::{Forwarded, account};
use millrace_e2e::operator::{NAMESPACE, RELEASE};
use millrace_e2e::spec::{Generator, SAMPLE_SOURCE, http_source};
use millrace_e2e::{Live, Spec, TestNamespace, Turn, eventually, in_shared};
use serde_json::json;

const READY_WITHIN: Duration = Duration::from_secs(300);
/// Longest until the first row.
const WITHIN: Duration = Duration::from_secs(120);

pub async fn the_page_works_in_a_browser(turn: Turn) -> Result<()> {
    in_shared(&turn, "browser", async |namespace| {
        let live = Live::start(namespace, &pipeline(), READY_WITHIN).await?;
        let there = async || Ok((live.table().await?.count().await? > 0).then_some(()));
        eventually("there are rows to see", WITHIN, there).await?;
        let console = Forwarded::open(&namespace.cluster).await?;
        let [reader, editor] = viewers(namespace).await?;
        let mut browser = Command::new(repository().join("console/web/tests/run.sh"));
        browser.args([&console.address, &editor, &namespace.name, live.names.pipeline()]);
        browser.env("READER_TOKEN", reader).env("SHOTS", "");
        let ran = tokio::task::spawn_blocking(move || browser.output()).await.context("the thread was stopped")?;
        let Output { status, stdout, stderr } = ran.context("cannot run console/web/tests/run.sh")?;
        let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        said.lines().for_each(|line| namespace.say(line));
        ensure!(status.success(), "the browser test ends with {status}: {said}");
        // Every part was there to fail.
        for part in ["newcomer", "accessibility", "look", "away", "reader"] {
            ensure!(said.contains(&format!("ok    {part} ")), "part '{part}' did not run: {said}");
        }
        Ok(())
    })
    .await
}

/// A source that can be run and paused, and one that always runs.
fn pipeline() -> Spec {
    let mut people = http_source("people", "");
    people["http"] = json!({
        "url": format!("{SAMPLE_SOURCE}/api/"), "query": {"results": "params.results"}, "records": "/results",
    });
    people["params"] = json!([{"name": "results", "type": "integer", "default": "5", "minimum": 1, "maximum": 100}]);
    people["schedule"] = json!({"cron": "0 0 1 1 *"});
    let steady = Generator { seed: 9, count: None, rate: Some(20) }.source();
    Spec::one().readable_topics().sources([people, steady])
}

/// Returns the tokens of who may read, and who may change.
async fn viewers(namespace: &TestNamespace) -> Result<[String; 2]> {
    let here = namespace.name.as_str();
    let records = format!("{NAMESPACE}:{RELEASE}:records");
    let tokens = [account(namespace, here, "looks").await?, account(namespace, here, "changes").await?];
    for (who, number, role) in [("looks", 0, "view"), ("looks", 1, &records), ("changes", 2, "admin")] {
        let (name, role) = (format!("browser-{number}"), format!("--clusterrole={role}"));
        let account = format!("--serviceaccount={here}:{who}");
        namespace.cluster.kubectl(&["create", "rolebinding", &name, "-n", here, &role, &account]).await?;
    }
    Ok(tokens)
}
