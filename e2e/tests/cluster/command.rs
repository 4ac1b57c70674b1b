//! The command `millrace` on a small pipeline: what it shows is held against what is there, and what it must refuse, or
//! cannot reach, ends with the exit code that docs/command.md promises.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_e2e::cluster::{repository, target};
use millrace_e2e::command::Millrace;
use millrace_e2e::spec::{SAMPLE_SOURCE, TOPIC, http_source};
use millrace_e2e::{Live, Spec, TestNamespace, Turn, eventually, in_shared};
use serde_json::{Value, json};

const READY_WITHIN: Duration = Duration::from_secs(300);
/// Longest that a record takes to its row on a busy machine.
const ARRIVED_WITHIN: Duration = Duration::from_secs(90);
/// Records of a run of the generator.
const GENERATED: usize = 200;
/// A secret that no report may have; each place has a name beside it that a report does have.
const PLANTED: &str = "planted-5e8c1f0b9a7d";

pub async fn the_command_shows_what_is_there(turn: Turn) -> Result<()> {
    in_shared(&turn, "command", async |namespace| {
        let live = Live::start(namespace, &pipeline(), READY_WITHIN).await?;
        let millrace = Millrace::new(namespace)?;
        files_are_judged_without_a_cluster(&millrace).await?;
        the_chain_is_told(&live, &millrace).await?;
        why_and_whether_are_told(&live, &millrace).await?;
        a_plan_is_shown(&live, &millrace).await?;
        restarts_are_held_and_released(&live, &millrace).await?;
        let id = a_run_is_followed_to_its_row(&millrace).await?;
        namespace.say(format!("followed the record {id} to its row"));
        runs_fail_and_are_refused(&millrace).await?;
        a_run_is_counted_read_along_and_cancelled(&millrace).await?;
        records_come_in(&millrace).await?;
        the_schedule_is_paused(&millrace).await?;
        a_backfill_is_listed_before_it_is_made(&millrace).await?;
        a_report_has_everything_but_secrets(namespace, &live, &millrace).await?;
        the_pipeline_is_suspended_and_runs_again(&live, &millrace).await?;
        what_does_not_exist_is_a_mistake(&millrace).await?;
        a_stranger_is_told_what_is_missing(namespace, &millrace).await
    })
    .await
}

/// Sources that only run when somebody asks, and one with due times that are far away.
fn pipeline() -> Spec {
    let mut keyed = http_source("keyed", "");
    keyed["http"] = json!({
        "url": format!("{SAMPLE_SOURCE}/fail-first"),
        "query": {"n": "params.failures", "key": "params.key"},
        "records": "/results",
    });
    keyed["params"] = json!([
        {"name": "failures", "type": "integer", "default": "0", "minimum": 0, "maximum": 9},
        {"name": "key", "pattern": "[a-z0-9-]+", "description": "Makes the run one of its own."},
    ]);
    keyed["schedule"] = json!({});
    let mut broken = http_source("broken", "");
    broken["http"]["url"] = json!(format!("{SAMPLE_SOURCE}/status/500?key={PLANTED}"));
    broken["http"]["headers"] = json!([{"name": "X-Planted", "value": PLANTED}]);
    broken["schedule"] = json!({});
    let made = json!({
        "name": "made", "topic": TOPIC, "key": "id", "generator": {"seed": 7, "count": GENERATED},
        "schedule": {"cron": "0 0 1 1 *"},
    });
    let endless = json!({
        "name": "endless", "topic": TOPIC, "key": "id", "generator": {"seed": 8, "recordsPerSecond": 20}, "schedule": {},
    });
    Spec::one().sources([keyed, broken, made, endless])
}

async fn files_are_judged_without_a_cluster(millrace: &Millrace) -> Result<()> {
    let nowhere = millrace.with_kubeconfig(PathBuf::from("/dev/null"));
    let sample = |name: &str| repository().join("e2e/samples").join(name).display().to_string();
    let told = nowhere.says(&["validate", &sample("refused/zookeeper-even.yaml")], 1, "must be odd").await?;
    ensure!(told.contains('^') && told.contains("zookeeper-even.yaml:"), "no mark below the place: {told}");
    nowhere.says(&["validate", &sample("accepted/one-of-each.yaml")], 0, "1 resource, valid").await?;
    nowhere.says(&["validate", "/does/not/exist.yaml"], 2, "cannot read").await?;
    // Control: what does need a cluster cannot do without.
    nowhere.says(&["status"], 3, "error: ").await.map(drop)
}

async fn the_chain_is_told(live: &Live, millrace: &Millrace) -> Result<()> {
    let pipeline = live.names.pipeline();
    let mut mistaken = http_source("mistaken", "");
    mistaken["fields"]["first_name"] = json!("record.name.");
    live.change(&self::pipeline().with("/spec/producer/sources/-", mistaken)).await?;
    live.await_condition("Ready", "False", "SpecInvalid", READY_WITHIN).await?;
    millrace.says(&["status", pipeline], 1, "ready").await?;
    live.change(&self::pipeline()).await?;
    live.await_ready(READY_WITHIN).await?;
    let tree = millrace.says(&["status"], 0, "is ready").await?;
    for link in ["producers", "processors", "topics", "brokers", "zookeeper", "cassandra"] {
        ensure!(tree.contains(link), "the tree has no {link}: {tree}");
    }
    ensure!(!tree.contains('\u{1b}') && !tree.contains("the cause"), "{tree}");
    let report = millrace.json(&["status", pipeline]).await?;
    ensure!(report["ready"] == "met" && report["chain"].as_array().is_some_and(|chain| chain.len() == 6), "{report}");
    millrace.says(&["logs", pipeline, "--component", "kafka"], 0, "-kafka-0 ").await?;
    millrace.says(&["logs", pipeline, "--component", "zookeeper", "--previous"], 2, "no previous log").await.map(drop)
}

/// A pipeline that is well is explained by its figures, and the cluster that it runs in passes every check.
async fn why_and_whether_are_told(live: &Live, millrace: &Millrace) -> Result<()> {
    let pipeline = live.names.pipeline();
    millrace.says(&["explain", pipeline], 0, "is well since").await?;
    let explanation = millrace.json(&["explain", pipeline]).await?;
    let is_well = explanation["verdict"] == "well" && explanation["cause"].is_null() && explanation["fix"].is_null();
    ensure!(is_well && explanation["unread"] == json!([]), "{explanation}");
    ensure!(explanation["figures"].to_string().contains("brokers 1/1"), "{explanation}");
    // Another test may be starting an operator of its own.
    let passed = async || Ok(Some(millrace.run(&["check", "-o", "json"]).await?).filter(|said| said.code == 0));
    let (said, _) = eventually("every check passes", ARRIVED_WITHIN, passed).await?;
    let checked: Value = serde_json::from_str(&said.out).context("no JSON")?;
    let states: Vec<&str> =
        checked["checks"].as_array().into_iter().flatten().filter_map(|check| check["state"].as_str()).collect();
    // Volumes of the test cluster may not grow, and another test may have a webhook: those are warnings.
    let is_fine = states.len() >= 11 && states.iter().all(|state| ["ok", "warning"].contains(state));
    ensure!(checked["passed"] == true && is_fine, "{checked}");
    // Control: what is not there does fail.
    millrace.says(&["check", "--storage-class", "nobody"], 1, "there is no 'nobody'").await.map(drop)
}

/// A file is compared with the pipeline, and nothing is changed by it.
async fn a_plan_is_shown(live: &Live, millrace: &Millrace) -> Result<()> {
    let before = live.resource().await?;
    let name = live.names.pipeline();
    let file = target().join("e2e-plan.json");
    let write = |pointer: &str, value: Value| {
        let mut wanted = json!({
            "apiVersion": "millrace.dev/v1alpha1", "kind": "StreamingPipeline", "metadata": {"name": name},
            "spec": before.spec,
        });
        let (parent, key) = pointer.rsplit_once('/').context("a pointer begins with '/'")?;
        wanted.pointer_mut(parent).context("it has no such field")?[key] = value;
        fs::write(&file, wanted.to_string()).context("cannot write the file")
    };
    let path = file.to_string_lossy().into_owned();
    let path = path.as_str();
    write("/metadata/name", json!(name))?;
    millrace.says(&["plan", path], 0, "nothing of pipeline").await?;
    write("/spec/processor/maxInFlight", json!(77))?;
    let told = millrace.says(&["plan", path], 0, "rolling update").await?;
    ensure!(told.contains("no pod of a store is restarted"), "{told}");
    write("/spec/kafka/jvmOptions", json!(["-XX:MaxGCPauseMillis=100"]))?;
    millrace.says(&["plan", path], 0, "restart one at a time").await?;
    // The control: what admission refuses is no plan.
    write("/spec/zookeeper/replicas", json!(2))?;
    millrace.says(&["plan", path], 1, "would be refused").await?;
    let after = live.resource().await?.metadata.generation;
    ensure!(after == before.metadata.generation, "the pipeline was changed");
    Ok(())
}

/// Restarts are held by name and released again; there is no plan to approve, and nothing is restarted by mistake.
async fn restarts_are_held_and_released(live: &Live, millrace: &Millrace) -> Result<()> {
    let pipeline = live.names.pipeline();
    let told = millrace.says(&["hold", pipeline], 0, "are held").await?;
    ensure!(told.contains(&format!("to undo it: millrace release {pipeline}")), "{told}");
    millrace.says(&["hold", pipeline], 0, "are held already").await?;
    let released = millrace.json(&["release", pipeline]).await?;
    ensure!(released["changed"] == true, "{released}");
    millrace.says(&["release", pipeline], 0, "are not held already").await?;
    millrace.says(&["approve", pipeline, "--yes"], 2, "there is nothing to approve").await?;
    millrace.says(&["restart", pipeline, "--component", "run"], 2, "'run' is not a component").await.map(drop)
}

/// Follows a run, finds its record in the topic by its header, and the row of that. Returns the row's key.
async fn a_run_is_followed_to_its_row(millrace: &Millrace) -> Result<String> {
    let key = format!("k-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let asked = ["trigger", "keyed", "--key", &key, "--failures", "0", "--follow"];
    let told = millrace.says(&asked, 0, "Succeeded").await?;
    let run = told.split(':').next().unwrap_or_default().to_owned();
    ensure!(run.starts_with("keyed-"), "the run has no name: {told}");
    let shown = millrace.json(&["runs", "show", &run]).await?;
    let asked_by = shown["metadata"]["annotations"]["millrace.dev/requested-by"].as_str();
    ensure!(asked_by.is_some_and(|user| !user.is_empty()), "nobody asked: {shown}");

    let records = millrace.json(&["peek", TOPIC, "--headers"]).await?;
    let of_run = |record: &&Value| record["headers"]["millrace-run"] == run.as_str();
    let record = records.as_array().and_then(|records| records.iter().find(of_run));
    let record = record.with_context(|| format!("no record of run '{run}' in {records}"))?;
    let id = record["value"]["id"].as_str().context("the value has no id")?.to_owned();
    let offset = record["offset"].to_string();
    let partition = record["partition"].to_string();
    let seek = ["peek", TOPIC, "--partition", &partition, "--from-offset", &offset, "--key", &id];
    let sought = millrace.json(&seek).await?;
    ensure!(sought[0] == *record, "by its place it is another: {sought}");
    let none = millrace.json(&["peek", TOPIC, "--contains", "nothing like this"]).await?;
    ensure!(none == json!([]), "a filter lets everything pass: {none}");

    let key = format!("id={id}");
    let row = async || {
        let rows = millrace.json(&["rows", "created_users", "--key", &key]).await?;
        Ok((rows[0]["email"] == record["value"]["email"]).then_some(rows))
    };
    let (rows, _) = eventually("the record is a row", ARRIVED_WITHIN, row).await?;
    ensure!(rows.as_array().is_some_and(|rows| rows.len() == 1), "{rows}");
    let other = format!("id={}", uuid::Uuid::new_v4());
    let none = millrace.json(&["rows", "created_users", "--key", &other]).await?;
    ensure!(none == json!([]), "a row that is not there: {none}");
    let committed = async || {
        let lag = millrace.run(&["lag", "-o", "json"]).await?;
        let lag: Value = serde_json::from_str(&lag.out).context("no JSON")?;
        Ok((lag["records"] == 0).then_some(()))
    };
    eventually("the lag is 0", ARRIVED_WITHIN, committed).await?;
    Ok(id)
}

async fn runs_fail_and_are_refused(millrace: &Millrace) -> Result<()> {
    let broken = ["trigger", "broken", "--retries", "0", "--follow"];
    millrace.says(&broken, 1, "answers 500").await?;
    let before = millrace.json(&["runs"]).await?;
    let refused = ["trigger", "keyed", "--key", "a", "--failures", "10"];
    millrace.says(&refused, 2, "--failures: '10' is above the maximum 9").await?;
    millrace.says(&["trigger", "keyed"], 2, "--key: the param has no default").await?;
    millrace.says(&["trigger", "keyed", "--key", "a", "--colour", "red"], 2, "no such param").await?;
    ensure!(millrace.json(&["runs"]).await? == before, "a refused run was asked for all the same");
    millrace.says(&["trigger", "keyed", "--params"], 0, "Makes the run one of its own.").await.map(drop)
}

/// A run without end of its own: its counts move, its log is followed to the end that a cancel makes.
async fn a_run_is_counted_read_along_and_cancelled(millrace: &Millrace) -> Result<()> {
    let told =
        millrace.says(&["trigger", "endless", "--max-records", "1000000", "--name", "along"], 0, "is created").await?;
    ensure!(told.contains("'along'"), "{told}");
    let produced = async || {
        let run = millrace.json(&["runs", "show", "along"]).await?;
        let is_open = run["status"]["phase"] == "Running";
        Ok(run["status"]["recordsProduced"].as_i64().filter(|count| is_open && *count > 0))
    };
    let (first, _) = eventually("the run is counted while it goes on", ARRIVED_WITHIN, produced).await?;
    let more = async || Ok(produced().await?.filter(|count| *count > first));
    let cancelled = async {
        let counted = eventually("the count moves", ARRIVED_WITHIN, more).await;
        millrace.says(&["runs", "cancel", "along"], 0, "is being cancelled").await?;
        counted
    };
    let log = ["logs", "--run", "along", "--follow"];
    let (followed, cancelled) = tokio::join!(millrace.says(&log, 0, "the attempt has ended"), cancelled);
    cancelled?;
    followed?;
    let ended = async || {
        let run = millrace.json(&["runs", "show", "along"]).await?;
        Ok((run["status"]["phase"] == "Cancelled").then_some(()))
    };
    eventually("the run is cancelled", ARRIVED_WITHIN, ended).await.map(drop)
}

/// Tails the topic while a run fills it.
async fn records_come_in(millrace: &Millrace) -> Result<()> {
    let tail = ["tail", TOPIC, "--limit", "5", "--for", "120s", "-o", "json"];
    let fill = async {
        // Until the tail has five records: it may begin after any one run has ended.
        for _ in 0..5 {
            millrace.says(&["trigger", "made", "--follow"], 0, "Succeeded").await?;
        }
        anyhow::Ok(())
    };
    let (tailed, filled) = tokio::join!(millrace.says(&tail, 0, ""), fill);
    filled?;
    let tailed = tailed?;
    let seen: Vec<Value> =
        tailed.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("no JSON lines")?;
    ensure!(seen.len() == 5, "{} records of 5", seen.len());
    let none = millrace.says(&["tail", TOPIC, "--for", "2s"], 0, "").await?;
    ensure!(none.is_empty(), "records come in although nothing runs: {none}");
    Ok(())
}

async fn the_schedule_is_paused(millrace: &Millrace) -> Result<()> {
    millrace.says(&["pause", "made"], 0, "is paused").await?;
    millrace.says(&["pause", "made"], 0, "already").await?;
    let paused = async || Ok(millrace.run(&["status"]).await?.out.contains("made: PAUSED").then_some(()));
    eventually("the pause is in the status", ARRIVED_WITHIN, paused).await?;
    millrace.says(&["resume", "made"], 0, "makes runs").await?;
    let resumed = async || Ok(millrace.run(&["status"]).await?.out.contains("made: next ").then_some(()));
    eventually("the next due time is in the status", ARRIVED_WITHIN, resumed).await.map(drop)
}

async fn a_backfill_is_listed_before_it_is_made(millrace: &Millrace) -> Result<()> {
    let range = ["backfill", "made", "--from", "2026-01-01", "--to", "2026-01-03", "--step", "24h", "--name", "again"];
    let count = async || {
        let runs = millrace.json(&["runs", "--source", "made"]).await?;
        let runs = runs.as_array().cloned().unwrap_or_default();
        anyhow::Ok(runs.iter().filter(|run| run["metadata"]["labels"]["millrace.dev/backfill"] == "again").count())
    };
    let dry: Vec<&str> = range.iter().copied().chain(["--dry-run"]).collect();
    millrace.says(&dry, 0, "2026-01-02T00:00:00Z").await?;
    ensure!(count().await? == 0, "a dry run made runs");
    millrace.says(&range, 0, "2 runs of backfill 'again'").await?;
    millrace.says(&range, 0, "2 already existed").await?;
    ensure!(count().await? == 2, "not two runs");
    let ended = async || {
        let runs = millrace.json(&["runs", "--source", "made"]).await?;
        let runs = runs.as_array().cloned().unwrap_or_default();
        Ok(runs.iter().all(|run| run["status"]["phase"] == "Succeeded").then_some(()))
    };
    eventually("the backfill has succeeded", Duration::from_secs(180), ended).await.map(drop)
}

/// A report opens, has what it promises, and a planted secret in none of its files.
async fn a_report_has_everything_but_secrets(
    namespace: &TestNamespace,
    live: &Live,
    millrace: &Millrace,
) -> Result<()> {
    let pipeline = live.names.pipeline();
    let applied = format!("kubectl.kubernetes.io/last-applied-configuration={{\"applied\":\"{PLANTED}\"}}");
    namespace.cluster.kubectl(&["-n", &namespace.name, "annotate", "--overwrite", "spl", pipeline, &applied]).await?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let file = folder.path().join("report.zip");
    let name = file.display().to_string();
    millrace.says(&["report", pipeline, "--file", &name, "--lines", "200"], 0, "secrets are masked").await?;
    let files = unpacked(&file)?;
    let has = |path: &str, text: &str| files.iter().any(|(name, found)| name.contains(path) && found.contains(text));
    for (path, text) in [
        ("README.txt", "Secrets: no Secret was read"),
        ("status.txt", "is ready"),
        ("explain.txt", pipeline),
        ("lag.txt", TOPIC),
        ("versions.yaml", "streamingpipelines.millrace.dev"),
        ("objects/pipeline.yaml", "X-Planted"),
        ("objects/pipeline.yaml", "last-applied-configuration"),
        ("objects/ingestionruns.yaml", "broken-"),
        ("objects/statefulsets.yaml", "kind: StatefulSet"),
        ("objects/persistentvolumeclaims.yaml", "-kafka-0"),
        ("cluster/nodes.yaml", "allocatable"),
        ("-kafka-0/", ""),
        ("metrics/", "# TYPE"),
    ] {
        ensure!(has(path, text), "no '{text}' in '{path}' of the report: {:?}", names(&files));
    }
    let leaked: Vec<&String> = files.iter().filter(|(_, text)| text.contains(PLANTED)).map(|(name, _)| name).collect();
    ensure!(leaked.is_empty(), "the planted secret is in {leaked:?}");
    // Control: it is where the report has read.
    let spec = namespace.cluster.kubectl(&["-n", &namespace.name, "get", "spl", pipeline, "-o", "json"]).await?;
    ensure!(spec.matches(PLANTED).count() >= 3, "the secret was not planted");
    millrace.says(&["report", pipeline, "--file", &name], 2, "exists").await.map(drop)
}

/// Returns the name and the text of each file of an archive.
fn unpacked(file: &Path) -> Result<Vec<(String, String)>> {
    let mut archive = zip::ZipArchive::new(File::open(file).context("no report")?).context("it does not open")?;
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).with_context(|| format!("'{name}' is no text"))?;
        files.push((name, text));
    }
    Ok(files)
}

fn names(files: &[(String, String)]) -> Vec<&String> {
    files.iter().map(|(name, _)| name).collect()
}

/// Suspending ends with a proof that Kafka itself confirms; afterwards everything runs again.
async fn the_pipeline_is_suspended_and_runs_again(live: &Live, millrace: &Millrace) -> Result<()> {
    let pipeline = live.names.pipeline();
    let told = millrace.says(&["suspend", pipeline, "--timeout", "5m"], 0, "is suspended").await?;
    ensure!(told.contains("drained at ") && told.contains(TOPIC), "{told}");
    let ended = millrace.json(&["suspend", pipeline]).await?;
    ensure!(ended["changed"] == false && ended["suspended"] == true, "{ended}");
    let lag = millrace.json(&["lag", pipeline]).await?;
    let topics = lag["topics"].as_array().context("no topics")?;
    ensure!(!topics.is_empty() && lag["records"] == 0, "{lag}");
    for topic in topics {
        let partitions = topic["partitions"].as_array().into_iter().flatten();
        let end: Option<i64> = partitions.map(|partition| partition["end"].as_i64()).sum();
        let name = topic["topic"].as_str().context("a topic has no name")?;
        ensure!(end.is_some() && ended["drained"]["offsets"][name].as_i64() == end, "{name}: {ended} {lag}");
    }
    millrace.says(&["status", pipeline], 1, "Suspended").await?;
    // Control: who does not wait long enough is told that it goes on.
    millrace.says(&["unsuspend", pipeline, "--timeout", "100ms"], 1, "is not ready within the time").await?;
    let ready = millrace.json(&["unsuspend", pipeline, "--timeout", "5m"]).await?;
    ensure!(ready["suspended"] == false && ready["changed"] == false && ready["drained"].is_null(), "{ready}");
    millrace.says(&["status", pipeline], 0, "is ready").await.map(drop)
}

async fn what_does_not_exist_is_a_mistake(millrace: &Millrace) -> Result<()> {
    millrace.says(&["status", "nobody"], 2, "no pipeline 'nobody'").await?;
    millrace.says(&["peek", "nothing"], 2, "no pipeline of namespace").await?;
    millrace.says(&["peek", TOPIC, "--partition", "99"], 2, "has no partition 99").await?;
    millrace.says(&["rows", "created_users", "--key", "nobody=1"], 2, "no column 'nobody'").await?;
    millrace.says(&["trigger", "nobody"], 2, "source 'nobody'").await?;
    millrace.says(&["runs", "cancel", "nobody"], 2, "cannot read run 'nobody'").await?;
    millrace.says(&["console", "--service", "nobody"], 2, "no Service 'nobody'").await?;
    millrace.says(&["lag", "--nothing"], 2, "unexpected argument").await.map(drop)
}

/// An account without rights is told which it lacks, and one that may read pipelines sees no more than those.
async fn a_stranger_is_told_what_is_missing(namespace: &TestNamespace, millrace: &Millrace) -> Result<()> {
    let kubectl = async |words: &[&str]| {
        let words: Vec<&str> = ["-n", &namespace.name].into_iter().chain(words.iter().copied()).collect();
        namespace.cluster.kubectl(&words).await
    };
    kubectl(&["create", "serviceaccount", "stranger"]).await?;
    let token = kubectl(&["create", "token", "stranger"]).await?;
    let view = kubectl(&["config", "view", "--minify", "--flatten", "-o", "json"]).await?;
    let mut kubeconfig: Value = serde_json::from_str(&view).context("a kubeconfig is JSON")?;
    kubeconfig["users"][0]["user"] = json!({"token": token.trim()});
    let file = std::env::temp_dir().join(format!("millrace-stranger-{}", namespace.name));
    fs::write(&file, kubeconfig.to_string()).context("cannot write a kubeconfig")?;
    let stranger = millrace.with_kubeconfig(file.clone());
    stranger.says(&["status"], 3, "forbidden").await?;
    kubectl(&["create", "role", "reads", "--verb=get,list", "--resource=streamingpipelines.millrace.dev"]).await?;
    let account = format!("--serviceaccount={}:stranger", namespace.name);
    kubectl(&["create", "rolebinding", "reads", "--role=reads", &account]).await?;
    let allowed = async || Ok((stranger.run(&["status"]).await?.code == 0).then_some(()));
    eventually("a reader sees the status", ARRIVED_WITHIN, allowed).await?;
    stranger.says(&["peek", TOPIC], 3, "cannot list pods").await?;
    stranger.says(&["pause", "made"], 3, "forbidden").await?;
    stranger.says(&["trigger", "made"], 3, "forbidden").await?;
    stranger.says(&["hold"], 3, "forbidden").await?;
    stranger.says(&["suspend", "--no-wait"], 3, "forbidden").await?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let report = folder.path().join("report.zip").display().to_string();
    stranger.says(&["report", "--file", &report], 0, "cannot list pods").await?;
    stranger.says(&["check"], 1, "not checked: no right to list nodes").await?;
    stranger.says(&["explain"], 0, "not read: events: cannot list events").await?;
    // Control: the pipeline's own user may.
    millrace.says(&["peek", TOPIC], 0, "").await?;
    fs::remove_file(file).context("cannot remove a kubeconfig")
}
