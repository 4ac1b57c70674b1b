//! The console: who sees and does what, a run from its form to its rows, what an open page says while a store or the API
//! server is away, and what twenty viewers cost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kube::ResourceExt;
use millrace_api::names::Component;
use millrace_e2e::console::{Answer, Forwarded, Viewer, Watched, account, direct, pod};
use millrace_e2e::operator::{NAMESPACE, RELEASE};
use millrace_e2e::process::{ControlPlane, Signal, signal, usage};
use millrace_e2e::spec::{Generator, SAMPLE_SOURCE, TOPIC, http_source};
use millrace_e2e::{Live, Spec, TestNamespace, Turn, eventually, in_shared};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const READY_WITHIN: Duration = Duration::from_secs(300);
/// Longest that a run, its rows and their measurements may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(180);
/// Longest until a store that went away is missed, or one that came back is asked again.
const NOTICED_WITHIN: Duration = Duration::from_secs(120);
/// How often an open page is looked at meanwhile.
const LOOK: Duration = Duration::from_secs(2);
/// Records that the run of the form asks for.
const WANTED: usize = 7;
/// Records a second of the source that always runs, and of the one that viewers watch.
const STEADY: u32 = 20;
const FAST: u32 = 10_000;
/// Viewers at once, how long they look, and what the console may have resident meanwhile, in MiB.
const VIEWERS: usize = 20;
const LOOKING: Duration = Duration::from_secs(60);
const MOST_RESIDENT: f64 = 64.0;

pub async fn the_console_shows_and_does_what_its_viewer_may(turn: Turn) -> Result<()> {
    in_shared(&turn, "console", async |namespace| {
        let live = Live::start(namespace, &pipeline(), READY_WITHIN).await?;
        let other = other_namespace(namespace).await?;
        let judged = judged(namespace, &live, &other).await;
        namespace.cluster.kubectl(&["delete", "namespace", &other, "--wait=false"]).await?;
        judged
    })
    .await
}

async fn judged(namespace: &TestNamespace, live: &Live, other: &str) -> Result<()> {
    let console = Forwarded::open(&namespace.cluster).await?;
    let scene = Scene::set(namespace, live, &console, other).await?;
    scene.only_who_is_known_gets_in(&console).await?;
    scene.a_change_needs_the_session_s_token().await?;
    scene.readers_change_nothing().await?;
    scene.a_wrong_form_is_refused().await?;
    let run = scene.a_run_from_its_form_to_its_rows().await?;
    scene.masked_fields_are_seen_by_right(&run).await?;
    scene.strangers_see_nothing().await?;
    scene.a_schedule_is_paused_and_resumed().await?;
    scene.a_source_that_never_works_is_told_with_its_cause().await?;
    scene.a_run_is_counted_cancelled_and_run_again().await?;
    scene.dead_letters_are_redriven().await?;
    scene.what_is_measured_is_known().await?;
    scene.kafka_is_away().await?;
    scene.cassandra_is_away().await?;
    scene.the_api_server_is_away().await?;
    scene.actions_are_on_record(&run).await?;
    scene.twenty_viewers_watch_a_fast_topic(&console).await
}

/// A source that runs on demand, with a param, and a field that is masked; one that never works, one that takes its time,
/// and one that always runs.
fn pipeline() -> Spec {
    let mut people = http_source("people", "");
    people["http"] = json!({
        "url": format!("{SAMPLE_SOURCE}/api/"), "query": {"results": "params.results"}, "records": "/results",
    });
    people["params"] = json!([{"name": "results", "type": "integer", "default": "5", "minimum": 1, "maximum": 100}]);
    people["schedule"] = json!({});
    let mut broken = http_source("broken", "");
    broken["http"]["url"] = json!(format!("{SAMPLE_SOURCE}/status/500"));
    broken["schedule"] = json!({});
    let slow = json!({
        "name": "slow", "topic": TOPIC, "key": "id", "generator": {"seed": 5, "recordsPerSecond": 50}, "schedule": {},
    });
    let steady = Generator { seed: 9, count: None, rate: Some(STEADY) }.source();
    let masked = json!({"millrace.dev/masked-fields": "email"});
    let sources = [people, broken, slow, steady];
    Spec::one().readable_topics().sources(sources).with("/metadata/annotations", masked)
}

/// Makes a namespace that the stranger is of; it is removed with that of the test.
async fn other_namespace(namespace: &TestNamespace) -> Result<String> {
    let name = format!("{}-other", namespace.name);
    namespace.cluster.kubectl(&["create", "namespace", &name]).await?;
    namespace.cluster.kubectl(&["label", "namespace", &name, "millrace.dev/e2e=console"]).await?;
    Ok(name)
}

/// The pipeline and who looks at it.
struct Scene<'a> {
    live: &'a Live,
    /// May read the pipeline and its records.
    reader: Viewer,
    /// May change it, too, and see masked fields.
    editor: Viewer,
    /// May do as much, in another namespace.
    stranger: Viewer,
    /// Tokens of reader and editor.
    tokens: [String; 2],
    path: String,
}

impl<'a> Scene<'a> {
    async fn set(namespace: &TestNamespace, live: &'a Live, console: &Forwarded, other: &str) -> Result<Self> {
        let cluster = &namespace.cluster;
        let here = namespace.name.as_str();
        let (reader, editor) = (account(namespace, here, "reader").await?, account(namespace, here, "editor").await?);
        let stranger = account(namespace, other, "stranger").await?;
        let records = format!("{NAMESPACE}:{RELEASE}:records");
        let grants = [
            (here, "reader", "view"),
            (here, "reader", &records),
            (here, "editor", "admin"),
            (other, "stranger", "admin"),
        ];
        for (number, (of, who, role)) in grants.into_iter().enumerate() {
            let (name, role, who) =
                (format!("{who}-{number}"), format!("--clusterrole={role}"), format!("--serviceaccount={of}:{who}"));
            cluster.kubectl(&["create", "rolebinding", &name, "-n", of, &role, &who]).await?;
        }
        Ok(Self {
            live,
            reader: Viewer::log_in(console, &reader).await?,
            editor: Viewer::log_in(console, &editor).await?,
            stranger: Viewer::log_in(console, &stranger).await?,
            tokens: [reader, editor],
            path: format!("/namespaces/{here}/pipelines/{}", live.names.pipeline()),
        })
    }

    fn at(&self, rest: &str) -> String {
        format!("{}{rest}", self.path)
    }

    /// How long something is away while a page is open.
    fn away_for(&self) -> Duration {
        self.live.namespace.turn.run.settings.away
    }

    fn say(&self, line: &str) {
        self.live.namespace.say(line);
    }

    async fn only_who_is_known_gets_in(&self, console: &Forwarded) -> Result<()> {
        let refused = Viewer::log_in(console, "no.such.token").await.err().map(|error| error.to_string());
        ensure!(refused.as_deref().is_some_and(|error| error.starts_with("401")), "a wrong token gets in: {refused:?}");
        Viewer::nobody(console)?.get("/pipelines").await?.expect(StatusCode::UNAUTHORIZED)?;
        let account = format!("system:serviceaccount:{}:reader", self.live.namespace.name);
        ensure!(self.reader.user == account, "the reader is '{}'", self.reader.user);
        let view = self.reader.get(&self.path).await?.expect(StatusCode::OK)?;
        ensure!(
            view["rights"]["messages"] == json!(true) && view["rights"]["trigger"] == json!(false),
            "{}",
            view["rights"]
        );
        Ok(())
    }

    async fn a_change_needs_the_session_s_token(&self) -> Result<()> {
        for wrong in [None, Some("0000"), self.reader_csrf().await?.as_deref()] {
            let viewer = self.editor.with_csrf(wrong);
            let answer = viewer.ask(Method::POST, &self.at("/runs"), Some(json!({"source": "people"}))).await?;
            answer.expect(StatusCode::FORBIDDEN).with_context(|| format!("token {wrong:?}"))?;
        }
        let runs = self.editor.get(&self.at("/runs")).await?.expect(StatusCode::OK)?;
        ensure!(runs["runs"] == json!([]), "a run was created without the token: {runs}");
        Ok(())
    }

    async fn reader_csrf(&self) -> Result<Option<String>> {
        let session = self.reader.get("/session").await?.expect(StatusCode::OK)?;
        Ok(session["csrf"].as_str().map(str::to_owned))
    }

    async fn readers_change_nothing(&self) -> Result<()> {
        let trigger = self.reader.ask(Method::POST, &self.at("/runs"), Some(json!({"source": "people"}))).await?;
        let problem = trigger.expect(StatusCode::FORBIDDEN)?;
        ensure!(problem["right"] == json!("create ingestionruns"), "{problem}");
        let pause = Some(json!({"paused": true}));
        let paused = self.reader.ask(Method::PUT, &self.at("/sources/people/paused"), pause).await?;
        paused.expect(StatusCode::FORBIDDEN)?;
        self.say("a reader reads and changes nothing");
        Ok(())
    }

    async fn a_wrong_form_is_refused(&self) -> Result<()> {
        let wrong = json!({"source": "people", "params": {"results": "101"}});
        let problem = self.editor.ask(Method::POST, &self.at("/runs"), Some(wrong)).await?;
        let problem = problem.expect(StatusCode::UNPROCESSABLE_ENTITY)?;
        ensure!(problem["fields"][0]["field"] == json!("params.results"), "{problem}");
        let dry = json!({"source": "people", "params": {"results": "9"}, "dryRun": true});
        let dry = self.editor.ask(Method::POST, &self.at("/runs"), Some(dry)).await?.expect(StatusCode::CREATED)?;
        ensure!(dry["name"].is_null(), "a dry run created something: {dry}");
        let backfill = json!({"source": "people", "from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z", "step": "24h", "dryRun": true});
        let listed =
            self.editor.ask(Method::POST, &self.at("/backfills"), Some(backfill)).await?.expect(StatusCode::OK)?;
        ensure!(listed["runs"].as_array().is_some_and(|runs| runs.len() == 2) && listed["done"].is_null(), "{listed}");
        let runs = self.editor.get(&self.at("/runs")).await?.expect(StatusCode::OK)?;
        ensure!(runs["runs"] == json!([]), "something was created: {runs}");
        Ok(())
    }

    async fn a_run_from_its_form_to_its_rows(&self) -> Result<String> {
        let form = json!({"source": "people", "params": {"results": WANTED.to_string()}});
        let name = self.triggered(form).await?;
        let run = self.ended(&name, "Succeeded").await?;
        ensure!(run["requestedBy"] == json!(self.editor.user), "it was asked for by {}", run["requestedBy"]);
        ensure!(run["recordsProduced"] == json!(WANTED), "{run}");
        let messages = self.reader.get(&self.at(&format!("/topics/{TOPIC}/messages?run={name}"))).await?;
        let messages = messages.expect(StatusCode::OK)?;
        let found = messages["messages"].as_array().context("messages")?;
        ensure!(found.len() == WANTED && messages["complete"] == json!(true), "{} messages", found.len());
        for message in found {
            self.has_its_row(message).await?;
        }
        self.say(&format!("run '{name}': {WANTED} records in messages, and each in its row"));
        Ok(name)
    }

    /// Waits until a message's row is there, and following the record says that it is the record's.
    async fn has_its_row(&self, message: &Value) -> Result<()> {
        let id = message["json"]["id"].as_str().context("the record has an id")?;
        let rows = self.at(&format!("/tables/created_users/rows?key=%7B%22id%22%3A%22{id}%22%7D"));
        let there = async || {
            let rows = self.reader.get(&rows).await?.expect(StatusCode::OK)?;
            Ok(rows["rows"].as_array().is_some_and(|rows| rows.len() == 1).then_some(()))
        };
        eventually("the record's row is there", WITHIN, there).await?;
        let place = format!("/trace?topic={TOPIC}&partition={}&offset={}", message["partition"], message["offset"]);
        let followed = async || {
            let trace = self.reader.get(&self.at(&place)).await?.expect(StatusCode::OK)?;
            let steps = trace["steps"].as_array().cloned().unwrap_or_default();
            let outcome =
                |kind: &str| steps.iter().find(|step| step["kind"] == json!(kind)).map(|step| step["outcome"].clone());
            let through = ["Run", "Source", "Topic", "Query", "Row"].map(|kind| outcome(kind) == Some(json!("Done")));
            ensure!(through == [true; 5], "{steps:?}");
            let of = |kind: &str| steps.iter().find(|step| step["kind"] == json!(kind)).cloned().unwrap_or_default();
            let facts = of("Query")["facts"].as_array().cloned().unwrap_or_default();
            let processor = facts.iter().find(|fact| fact["name"] == json!("processor"));
            let processor = processor.and_then(|fact| fact["value"].as_str()).context("no processor remembers it")?;
            ensure!(processor.starts_with(&self.live.names.component(Component::Processor)), "{processor} had it");
            let seconds = of("Row")["seconds"].as_f64().context("nobody says when the row was written")?;
            ensure!(
                (-1.0..WITHIN.as_secs_f64()).contains(&seconds),
                "the row was written {seconds} s after the record"
            );
            Ok(Some(()))
        };
        eventually("the record is followed from its run to its row", WITHIN, followed).await?;
        Ok(())
    }

    async fn masked_fields_are_seen_by_right(&self, run: &str) -> Result<()> {
        let messages = self.at(&format!("/topics/{TOPIC}/messages?run={run}&limit=1"));
        let of = async |viewer: &Viewer| -> Result<Value> {
            let messages = viewer.get(&messages).await?.expect(StatusCode::OK)?;
            Ok(messages["messages"][0]["json"]["email"].clone())
        };
        let (seen, masked) = (of(&self.editor).await?, of(&self.reader).await?);
        ensure!(seen.as_str().is_some_and(|email| email.contains('@')), "the editor sees {seen}");
        ensure!(masked == json!("•••"), "the reader sees {masked}");
        let email = seen.as_str().unwrap_or_default();
        // Two people may share a name, and with it an address: the editor finds one or more.
        let search = self.at(&format!("/topics/{TOPIC}/messages?run={run}&contains={}", email.replace('@', "%40")));
        let found = async |viewer: &Viewer| -> Result<usize> {
            let messages = viewer.get(&search).await?.expect(StatusCode::OK)?;
            Ok(messages["messages"].as_array().map_or(0, Vec::len))
        };
        let (editor, reader) = (found(&self.editor).await?, found(&self.reader).await?);
        ensure!(editor >= 1, "the editor does not find {email}");
        ensure!(reader == 0, "a masked value can be searched for: the reader finds {reader} messages");
        let rows = self.reader.get(&self.at("/tables/created_users/rows")).await?.expect(StatusCode::OK)?;
        ensure!(!rows["rows"].to_string().contains('@'), "a row tells what is masked");
        self.say("a masked field is seen by right alone");
        Ok(())
    }

    async fn strangers_see_nothing(&self) -> Result<()> {
        let messages = format!("/topics/{TOPIC}/messages");
        let asked = [
            "",
            "/history",
            "/lag",
            "/topics",
            &messages,
            "/tables",
            "/tables/created_users/rows",
            "/dead-letters",
            "/resource",
            "/pods",
            "/events",
            "/runs",
        ];
        for rest in asked {
            let answer = self.stranger.get(&self.at(rest)).await?;
            answer.expect(StatusCode::FORBIDDEN).with_context(|| format!("a stranger asks for '{rest}'"))?;
            // The same question has an answer for who may.
            self.reader.get(&self.at(rest)).await?.expect(StatusCode::OK).with_context(|| rest.to_owned())?;
        }
        let run = self.stranger.ask(Method::POST, &self.at("/runs"), Some(json!({"source": "people"}))).await?;
        run.expect(StatusCode::FORBIDDEN)?;
        let ours = |list: &Value| {
            list["pipelines"].as_array().is_some_and(|pipelines| {
                pipelines.iter().any(|pipeline| pipeline["namespace"] == json!(self.live.namespace.name))
            })
        };
        let (seen, hidden) = (self.reader.get("/pipelines").await?, self.stranger.get("/pipelines").await?);
        ensure!(ours(&seen.expect(StatusCode::OK)?), "the reader's list lacks the pipeline");
        ensure!(!ours(&hidden.expect(StatusCode::OK)?), "the stranger's list has the pipeline");
        self.say("a stranger of another namespace sees nothing");
        Ok(())
    }

    async fn a_schedule_is_paused_and_resumed(&self) -> Result<()> {
        for paused in [true, false] {
            let done = self
                .editor
                .ask(Method::PUT, &self.at("/sources/people/paused"), Some(json!({"paused": paused})))
                .await?;
            let done = done.expect(StatusCode::OK)?;
            ensure!(done["kubectl"].as_str().is_some_and(|command| command.contains("--type=json")), "{done}");
            let view = self.reader.get(&self.path).await?.expect(StatusCode::OK)?;
            ensure!(view["sources"][0]["schedule"]["paused"] == json!(paused), "{}", view["sources"]);
            let sources = self.live.resource().await?.spec.producer.sources;
            ensure!(
                sources[0].schedule.as_ref().is_some_and(|schedule| schedule.paused == paused),
                "the resource says otherwise"
            );
        }
        Ok(())
    }

    async fn a_source_that_never_works_is_told_with_its_cause(&self) -> Result<()> {
        let form = json!({"source": "broken", "retryLimit": 0});
        let run = self.ended(&self.triggered(form).await?, "Failed").await?;
        let told = [&run["message"], &run["attempts"][0]["error"]];
        let has_cause = |text: &&Value| text.as_str().is_some_and(|text| text.contains("answers 500"));
        ensure!(told.iter().all(has_cause), "the cause is not told: {run}");
        ensure!(run["recordsProduced"] == json!(0), "{run}");
        Ok(())
    }

    async fn a_run_is_counted_cancelled_and_run_again(&self) -> Result<()> {
        let first = self.triggered(json!({"source": "slow", "duration": "10m"})).await?;
        self.counted_while_it_runs(&first).await?;
        let cancel =
            async |name: &str| self.editor.ask(Method::POST, &self.at(&format!("/runs/{name}/cancel")), None).await;
        cancel(&first).await?.expect(StatusCode::OK)?;
        self.ended(&first, "Cancelled").await?;
        let again = self.editor.ask(Method::POST, &self.at(&format!("/runs/{first}/rerun")), None).await?;
        let again = again.expect(StatusCode::CREATED)?;
        let second = again["name"].as_str().context("the second run has a name")?;
        ensure!(second != first, "a rerun is the same run");
        let run = self.run(second).await?;
        ensure!(run["source"] == json!("slow") && run["duration"] == json!("10m"), "it was asked for otherwise: {run}");
        cancel(second).await?.expect(StatusCode::OK)?;
        self.ended(second, "Cancelled").await?;
        self.say("a run is counted while it goes on, cancelled, and run again");
        Ok(())
    }

    /// Waits until a run has records, and then more, while it goes on.
    async fn counted_while_it_runs(&self, name: &str) -> Result<()> {
        let produced = async || {
            let run = self.run(name).await?;
            Ok(run["recordsProduced"].as_i64().filter(|count| *count > 0 && run["phase"] == json!("Running")))
        };
        let (first, _) = eventually("the run is counted while it goes on", WITHIN, produced).await?;
        let more = async || Ok(produced().await?.filter(|count| *count > first));
        eventually("the count moves", WITHIN, more).await?;
        Ok(())
    }

    /// Asks for a run and returns its name.
    async fn triggered(&self, form: Value) -> Result<String> {
        let done = self.editor.ask(Method::POST, &self.at("/runs"), Some(form)).await?.expect(StatusCode::CREATED)?;
        ensure!(done["kubectl"].as_str().is_some_and(|command| command.contains("kubectl create")), "{done}");
        Ok(done["name"].as_str().context("the run has a name")?.to_owned())
    }

    async fn run(&self, name: &str) -> Result<Value> {
        self.reader.get(&self.at(&format!("/runs/{name}"))).await?.expect(StatusCode::OK)
    }

    /// Waits until a run has ended in a phase.
    async fn ended(&self, name: &str, phase: &str) -> Result<Value> {
        let ended = async || {
            let run = self.run(name).await?;
            Ok((run["phase"] == json!(phase)).then_some(run))
        };
        Ok(eventually(&format!("run '{name}' is {phase}"), WITHIN, ended).await?.0)
    }

    /// A record that is none is counted, sent back once, and is a dead letter again; the reader may only look.
    async fn dead_letters_are_redriven(&self) -> Result<()> {
        let poison = (Bytes::from_static(b"half"), Bytes::from_static(b"{\"id\": \"half a rec"));
        self.live.kafka().await?.produce(0, &[poison]).await?;
        let lettered = async |count: u64| {
            let letters = self.reader.get(&self.at("/dead-letters")).await?.expect(StatusCode::OK)?;
            anyhow::Ok((letters["reasons"] == json!([{"reason": "NotJson", "count": count}])).then_some(()))
        };
        eventually("the record is a dead letter", WITHIN, async || lettered(1).await).await?;
        let path = self.at("/dead-letters/redrive");
        let asked = async |viewer: &Viewer, dry_run: bool| {
            viewer.ask(Method::POST, &path, Some(json!({"reason": "NotJson", "dryRun": dry_run}))).await
        };
        let refused = asked(&self.reader, true).await?.expect(StatusCode::FORBIDDEN)?;
        ensure!(refused["right"] == json!("create pods/exec"), "{refused}");
        for dry_run in [true, false] {
            let did = asked(&self.editor, dry_run).await?.expect(StatusCode::OK)?;
            ensure!(did["redriven"] == json!({"sent": {"NotJson": 1}, "kept": {}}), "{did}");
        }
        eventually("it is a dead letter again", WITHIN, async || lettered(2).await).await?;
        let did = asked(&self.editor, false).await?.expect(StatusCode::OK)?;
        ensure!(did["message"] == json!("0 records sent, 1 letter left"), "{did}");
        self.say("a dead letter is redriven once");
        Ok(())
    }

    async fn what_is_measured_is_known(&self) -> Result<()> {
        let known = async || {
            let view = self.reader.get(&self.path).await?.expect(StatusCode::OK)?;
            let summary = &view["summary"];
            let is_known =
                ["lagRecords", "lagSeconds", "inRate", "outRate"].iter().all(|field| summary[field].is_number());
            let flows = summary["outRate"].as_f64().is_some_and(|rate| rate > 0.0);
            Ok((is_known && flows).then_some(()))
        };
        eventually("lag and rates are known", WITHIN, known).await?;
        Ok(())
    }

    async fn kafka_is_away(&self) -> Result<()> {
        self.away(Component::Kafka, &format!("/topics/{TOPIC}/messages"), async |page| {
            let lag = self.reader.get(&self.at("/lag")).await?.expect(StatusCode::OK)?;
            // Unknown, with its cause; and not zero.
            let unknown =
                lag["totalRecords"].is_null() && lag["totalSeconds"].is_null() && lag["partitions"] == json!([]);
            ensure!(unknown || lag["unknown"].is_null(), "{lag}");
            let lags = values(page, "LagRecords");
            let sampled = lags.last().is_some_and(Value::is_null);
            Ok(unknown && lag["unknown"].is_string() && sampled)
        })
        .await
    }

    async fn cassandra_is_away(&self) -> Result<()> {
        // Records go on coming in and none is written: that the lag is nothing would be false.
        self.away(Component::Cassandra, "/tables/created_users/rows", async |page| {
            Ok(values(page, "LagRecords").last().is_some_and(|lag| lag.as_f64().is_some_and(|lag| lag > 0.0)))
        })
        .await
    }

    /// Lets a store stand still for a while and the page be open: what needs it is unavailable with its cause, the rest is
    /// there, the page knows nothing false, and all comes back. `says` is whether the page says what there is to say; from
    /// then on it never says otherwise.
    async fn away(
        &self,
        component: Component,
        needs: &str,
        says: impl AsyncFn(&[Value]) -> Result<bool>,
    ) -> Result<()> {
        let cluster = &self.live.namespace.cluster;
        let page = self.reader.watch(&self.at("/live"));
        let pods = self.live.pods(component).await?;
        for pod in &pods {
            signal(cluster, pod, Signal::Stop).await?;
        }
        self.say(&format!("{component} stands still"));
        let begin = Instant::now();
        let noticed = self.is_noticed(needs, &page, &says, begin).await;
        for pod in &pods {
            // A probe may have ended the container meanwhile; then there is nothing to wake.
            let _ = signal(cluster, &self.live.pod(&pod.name_any()).await?, Signal::Continue).await;
        }
        noticed?;
        self.say(&format!("{component} goes on after {} s", begin.elapsed().as_secs()));
        let back = async || Ok((self.reader.get(&self.at(needs)).await?.status == StatusCode::OK).then_some(()));
        eventually("what was away is there again", NOTICED_WITHIN, back).await?;
        self.live.await_ready(READY_WITHIN).await?;
        self.what_is_measured_is_known().await
    }

    async fn is_noticed(
        &self,
        needs: &str,
        page: &Watched,
        says: &impl AsyncFn(&[Value]) -> Result<bool>,
        begin: Instant,
    ) -> Result<()> {
        self.is_unavailable(&self.reader, needs).await?;
        let said = async || Ok(says(&page.since(0, "sample")).await?.then_some(()));
        eventually("the page says what can be said", NOTICED_WITHIN, said).await?;
        // At least once more, however long that took.
        loop {
            tokio::time::sleep(LOOK).await;
            self.reader.get(&self.path).await?.expect(StatusCode::OK)?;
            let samples = page.since(0, "sample");
            ensure!(says(&samples).await?, "the page says something else by now: {:?}", samples.last());
            if begin.elapsed() >= self.away_for() {
                return Ok(());
            }
        }
    }

    /// Waits until what needs something that is away is unavailable, with its cause.
    async fn is_unavailable(&self, viewer: &Viewer, needs: &str) -> Result<()> {
        let away = async || {
            let Answer { status, body } = viewer.get(&self.at(needs)).await?;
            ensure!(
                status != StatusCode::OK || body["messages"] != json!([]),
                "nothing is shown as if there were nothing"
            );
            let caused = body["reason"] == json!("Unavailable")
                && body["causes"].as_array().is_some_and(|causes| !causes.is_empty());
            Ok((status == StatusCode::SERVICE_UNAVAILABLE && caused).then_some(()))
        };
        eventually("what is away is unavailable, with its cause", NOTICED_WITHIN, away).await?;
        Ok(())
    }

    /// The API server stands still: the page says so, goes on with what does not need it, and all comes back by itself.
    async fn the_api_server_is_away(&self) -> Result<()> {
        let cluster = &self.live.namespace.cluster;
        let control_plane = ControlPlane::find(cluster).await?;
        // A port-forward leads through the API server.
        let reader = self.reader.at(&direct(&pod(cluster).await?)?);
        let page = reader.watch(&self.at("/live"));
        let open = async || Ok((!page.since(0, "sample").is_empty()).then_some(()));
        eventually("the page is open", WITHIN, open).await?;
        control_plane.signal(Signal::Stop).await?;
        self.say("the API server stands still");
        let passed = page.count();
        let begin = Instant::now();
        let noticed = async {
            for needs in ["", "/lag", "/runs"] {
                self.is_unavailable(&reader, needs).await?;
            }
            let told = async || {
                let problems = page.since(passed, "problem");
                Ok(problems.iter().any(|problem| problem["reason"] == json!("Unavailable")).then_some(()))
            };
            eventually("the open page says that the API server is away", NOTICED_WITHIN, told).await?;
            tokio::time::sleep(self.away_for().saturating_sub(begin.elapsed())).await;
            let samples = page.since(passed, "sample");
            let rates = values(&samples, "InRate");
            // Records go on flowing, and are measured without the API server.
            ensure!(rates.len() > 2, "the page learns nothing any more");
            ensure!(rates.iter().all(|rate| rate.as_f64() != Some(0.0)), "the page says that nothing flows: {rates:?}");
            anyhow::Ok(())
        };
        let noticed = noticed.await;
        control_plane.signal(Signal::Continue).await?;
        noticed?;
        self.say(&format!("the API server goes on after {} s", begin.elapsed().as_secs()));
        let passed = page.count();
        let back = async || Ok((reader.get(&self.path).await?.status == StatusCode::OK).then_some(()));
        eventually("the pipeline is shown again", NOTICED_WITHIN, back).await?;
        let shown = async || {
            // One that has not changed is not told again.
            let quiet = page.since(passed, "problem").is_empty() && !page.since(passed, "sample").is_empty();
            Ok((quiet || !page.since(passed, "view").is_empty()).then_some(()))
        };
        eventually("the open page goes on by itself", NOTICED_WITHIN, shown).await?;
        self.live.await_ready(READY_WITHIN).await?;
        Ok(())
    }

    /// What the console needs while twenty look at a pipeline and follow a topic that is filled fast.
    async fn twenty_viewers_watch_a_fast_topic(&self, console: &Forwarded) -> Result<()> {
        let cluster = &self.live.namespace.cluster;
        let fast = json!({"seed": 9, "recordsPerSecond": FAST});
        self.live.change(&pipeline().with("/spec/producer/sources/3/generator", fast)).await?;
        let mut pages = Vec::new();
        for number in 0..VIEWERS {
            let viewer = Viewer::log_in(console, &self.tokens[number % 2]).await?;
            pages.push(viewer.watch(&self.at("/live")));
            pages.push(viewer.watch(&self.at(&format!("/topics/{TOPIC}/tail"))));
        }
        let skipped =
            |page: &Watched| page.since(0, "messages").iter().any(|batch| batch["skipped"].as_i64() > Some(0));
        let fast = async || Ok((pages.iter().filter(|page| skipped(page)).count() == VIEWERS).then_some(()));
        eventually("every viewer sees more than can be shown", WITHIN, fast).await?;
        let pod = pod(cluster).await?;
        let (before, begin) = (usage(cluster, &pod).await?, Instant::now());
        let mut resident: f64 = 0.0;
        while begin.elapsed() < LOOKING {
            pages.iter().for_each(Watched::clear);
            tokio::time::sleep(LOOK).await;
            resident = resident.max(usage(cluster, &pod).await?.resident);
        }
        let after = usage(cluster, &pod).await?;
        let cores = (after.cpu - before.cpu) / begin.elapsed().as_secs_f64();
        // A sample comes every few seconds: a page that has just received one may have to wait for the next.
        pages.iter().for_each(Watched::clear);
        let told = async || Ok(pages.iter().all(|page| page.count() > 0).then_some(()));
        eventually("every viewer is still told something", WITHIN, told).await?;
        let known = async || {
            let view = self.reader.get(&self.path).await?.expect(StatusCode::OK)?;
            Ok(view["summary"]["inRate"].as_f64())
        };
        let (rate, _) = eventually("it is known how fast the topic is filled", WITHIN, known).await?;
        let namespace = &self.live.namespace;
        namespace.figure("console_watched_topic", rate, "records/s")?;
        namespace.figure("console_resident_with_twenty_viewers", resident, "MiB")?;
        namespace.figure("console_peak", after.peak, "MiB")?;
        namespace.figure("console_share_of_a_core_with_twenty_viewers", cores * 100.0, "percent")?;
        ensure!(resident <= MOST_RESIDENT, "the console has {resident:.1} MiB resident");
        Ok(())
    }

    async fn actions_are_on_record(&self, run: &str) -> Result<()> {
        let deployment = format!("deployment/{RELEASE}-console");
        let log = self.live.namespace.cluster.kubectl(&["logs", "-n", NAMESPACE, &deployment, "--tail=-1"]).await?;
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let acted = |action: &str, user: &str, outcome: &str| {
            let of = |line: &&Value| {
                line["target"] == json!("audit")
                    && line["action"] == json!(action)
                    && line["user"] == json!(user)
                    && line["outcome"] == json!(outcome)
            };
            lines.iter().filter(of).map(|line| line["object"].clone()).collect::<Vec<_>>()
        };
        let triggered = acted("trigger", &self.editor.user, "done");
        ensure!(triggered.len() == 3 && triggered[0] == json!(run), "the editor triggered {triggered:?}");
        ensure!(acted("cancel", &self.editor.user, "done").len() == 2, "what was cancelled is not on record");
        let redriven = acted("redrive", &self.editor.user, "done");
        ensure!(redriven == [json!("NotJson"), json!("NotJson")], "the editor redrove {redriven:?}");
        let foreign = acted("change", &self.editor.user, "refused");
        let runs = format!("{}/runs", self.path);
        let is_there = foreign.iter().any(|object| object.as_str().is_some_and(|object| object.ends_with(&runs)));
        ensure!(is_there, "a change without the session's token is not on record: {foreign:?}");
        ensure!(acted("trigger", &self.stranger.user, "refused").len() == 1, "the stranger's attempt is not on record");
        ensure!(!acted("read", &self.reader.user, "done").is_empty(), "what the reader read is not on record");
        ensure!(!acted("login", &self.reader.user, "done").is_empty(), "the reader's login is not on record");
        Ok(())
    }
}

/// Returns what samples say of the pipeline as a whole, or of all sources together.
fn values(samples: &[Value], measure: &str) -> Vec<Value> {
    let stage = if measure == "InRate" { json!("Source") } else { Value::Null };
    let is_it = |value: &&Value| {
        let key = &value["key"];
        key["measure"] == json!(measure) && key["stage"] == stage && key["name"].is_null() && key["partition"].is_null()
    };
    let of = |sample: &Value| sample["values"].as_array()?.iter().find(is_it).map(|value| value["value"].clone());
    samples.iter().filter_map(of).collect()
}
