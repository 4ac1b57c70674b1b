//! The operator's only way out: every request to the API server and every act on a store goes through its gate.
//!
//! A gate counts writes, and may end the operator at one of them: before it is sent, or after it was committed and
//! before the operator hears of it. From then on nothing goes through, as nothing comes from a process that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use axum::http::{Method, Request, Response};
use kube::client::Body;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service};

/// When, around a write, the operator is killed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Moment {
    /// Before the write is sent.
    Before,
    /// After it was committed; the operator never hears of it.
    After,
}

/// A write by its words, and how often it was committed before.
pub type Target = (String, usize);

/// Returns the targets that writes are, in their order.
pub fn targets(writes: &[Write]) -> Vec<Target> {
    let mut seen = BTreeMap::new();
    let mut targets = Vec::new();
    for write in writes {
        let times: &mut usize = seen.entry(write.to_string()).or_default();
        targets.push((write.to_string(), *times));
        *times += 1;
    }
    targets
}

/// Where operators are killed, one after another.
#[derive(Clone)]
pub struct Kills {
    moment: Moment,
    marks: Arc<Mutex<Marks>>,
}

#[derive(Default)]
struct Marks {
    /// What is left to be killed at; `None`: every write.
    aim: Option<BTreeSet<Target>>,
    seen: BTreeMap<String, usize>,
    hit: Vec<Target>,
}

impl Kills {
    /// Kills at every write.
    pub fn at_every_write(moment: Moment) -> Self {
        Self { moment, marks: Arc::default() }
    }

    /// Kills at these writes, once each.
    pub fn at(moment: Moment, aim: impl IntoIterator<Item = Target>) -> Self {
        let marks = Marks { aim: Some(aim.into_iter().collect()), ..Marks::default() };
        Self { moment, marks: Arc::new(Mutex::new(marks)) }
    }

    /// Returns at which writes operators were killed, in order.
    pub fn hit(&self) -> Vec<Target> {
        self.marks().hit.clone()
    }

    fn moment_of(&self, write: &Write) -> Option<Moment> {
        let mut marks = self.marks();
        let target = (write.to_string(), marks.seen.get(&write.to_string()).copied().unwrap_or(0));
        let is_hit = marks.aim.as_mut().is_none_or(|aim| aim.remove(&target));
        marks.hit.extend(is_hit.then_some(target));
        is_hit.then_some(self.moment)
    }

    fn committed(&self, write: &Write) {
        *self.marks().seen.entry(write.to_string()).or_default() += 1;
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().expect("no holder of this lock panics")
    }
}

/// A write that the operator asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// POST, PATCH, PUT, DELETE; ACT on a store.
    pub verb: String,
    /// Plural of the resource, with its subresource; `kafka` or `cassandra` for an act.
    pub resource: String,
    /// Name of the object; the act in words.
    pub name: String,
    /// What was sent.
    pub body: Value,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.verb, self.resource, self.name)
    }
}

/// The way out of one operator process.
#[derive(Clone, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    killed: CancellationToken,
    held: CancellationToken,
    released: CancellationToken,
}

#[derive(Default)]
struct State {
    asked: usize,
    committed: Vec<Write>,
    kills: Option<Kills>,
    hold: Option<Hold>,
}

/// What an operator hangs at, as a process does that is stopped.
#[derive(Clone, Copy, Debug)]
pub enum Hold {
    /// A GET whose path ends so.
    Get(&'static str),
    /// The write of this number, from 0: before it is sent.
    Write(usize),
    /// The first deletion: before it is sent.
    Deletion,
}

impl Gate {
    /// Makes a gate that ends its operator at the first of these writes.
    pub fn killing(kills: &Kills) -> Self {
        let gate = Self::default();
        gate.state().kills = Some(kills.clone());
        gate
    }

    /// Makes a gate that lets everything through up to this, which hangs until [`Gate::release`].
    pub fn holding(hold: Hold) -> Self {
        let gate = Self::default();
        gate.state().hold = Some(hold);
        gate
    }

    /// Cuts the operator off for good: whatever it asks is answered by nobody.
    pub fn cut(&self) {
        self.0.killed.cancel();
    }

    /// Waits until the operator was killed.
    pub async fn killed(&self) {
        self.0.killed.cancelled().await;
    }

    /// Waits until a request hangs.
    pub async fn held(&self) {
        self.0.held.cancelled().await;
    }

    /// Lets the request go on that hangs.
    pub fn release(&self) {
        self.0.released.cancel();
    }

    /// Returns the writes that were committed so far, in order.
    pub fn committed(&self) -> Vec<Write> {
        self.state().committed.clone()
    }

    /// Lets a write through, or ends the operator around it. The write is committed once `commit` is done.
    pub async fn write<T>(&self, write: Write, commit: impl Future<Output = T>) -> T {
        self.unless_killed().await;
        let (number, kills) = self.count();
        let moment = kills.as_ref().and_then(|kills| kills.moment_of(&write));
        let is_here = |hold: &Hold| match hold {
            Hold::Write(held) => *held == number,
            Hold::Deletion => write.verb == "DELETE",
            Hold::Get(_) => false,
        };
        self.unless_held(is_here).await;
        if moment == Some(Moment::Before) {
            self.end().await;
        }
        let done = commit.await;
        if let Some(kills) = &kills {
            kills.committed(&write);
        }
        self.state().committed.push(write);
        if moment == Some(Moment::After) {
            self.end().await;
        }
        done
    }

    /// Returns the number of a write, and where the operator is killed.
    fn count(&self) -> (usize, Option<Kills>) {
        let mut state = self.state();
        let number = state.asked;
        state.asked += 1;
        (number, state.kills.clone())
    }

    async fn end(&self) {
        self.0.killed.cancel();
        std::future::pending::<()>().await;
    }

    async fn unless_killed(&self) {
        if self.0.killed.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }

    async fn unless_held(&self, is_it: impl Fn(&Hold) -> bool) {
        let held = self.state().hold.take_if(|hold| is_it(hold)).is_some();
        if held {
            self.0.held.cancel();
            self.0.released.cancelled().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of this lock panics")
    }
}

/// Puts a gate into a client.
pub struct GateLayer(pub Gate);

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, gate: self.0.clone() }
    }
}

/// A client's service behind a gate.
pub struct Gated<S> {
    inner: S,
    gate: Gate,
}

impl<S, B> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send,
    B: Send,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let gate = self.gate.clone();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let is_dry_run = request.uri().query().is_some_and(|query| query.contains("dryRun=All"));
        let body = request.body().try_clone();
        // Nothing is sent before the future is polled.
        let sent = self.inner.call(request);
        Box::pin(async move {
            gate.unless_killed().await;
            // What nobody keeps is a question.
            if method == Method::GET || is_dry_run {
                gate.unless_held(|hold| matches!(hold, Hold::Get(end) if path.ends_with(end))).await;
                return sent.await;
            }
            let body = match body {
                Some(body) => body.collect_bytes().await.map(|bytes| bytes.to_vec()).unwrap_or_default(),
                None => Vec::new(),
            };
            gate.write(write_of(&method, &path, &body), sent).await
        })
    }
}

/// Reads a write off its request: `/api/v1/namespaces/NS/RESOURCE[/NAME[/SUBRESOURCE]]`, or the same under `/apis`.
fn write_of(method: &Method, path: &str, body: &[u8]) -> Write {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut parts = path.split('/').skip_while(|part| *part != "namespaces").skip(2);
    let resource = parts.next().unwrap_or(path);
    let of_body = || body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    // An event's name is made of the time.
    let of_event = || body.get("reason").and_then(Value::as_str).unwrap_or_default();
    let name = parts.next().unwrap_or_else(of_body);
    let name = if resource == "events" { of_event() } else { name }.to_owned();
    let resource = parts.next().map_or(resource.to_owned(), |subresource| format!("{resource}/{subresource}"));
    Write { verb: method.to_string(), resource, name, body }
}
