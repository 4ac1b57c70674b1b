//! Stores are rolled again and again under load, each time for another cause. Nothing that Kafka acknowledged is lost, and
//! no pod of a store is taken away before the brokers' own logs say that every partition is in sync again.
//!
//! `E2E_ROLLS` says how many.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use chrono::Utc;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use millrace_api::names::Component;
use millrace_api::pods::is_ready;
use millrace_e2e::isr::{BrokerLogs, ensure_awaited};
use millrace_e2e::live::STORES;
use millrace_e2e::spec::Generator;
use millrace_e2e::{Live, Spec, Turn, eventually, in_namespace, operator};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::scenario::account::Account;
use crate::three::{READY_WITHIN, RECOVERED_WITHIN};

/// Longest that the roll of a store may take, each member with its store at full strength again.
const ROLLED_WITHIN: Duration = Duration::from_secs(420);
/// Records a second from the generator, with no end.
const RATE: u32 = 100;
const SEED: u64 = 41;

pub async fn rolls_wait_for_every_replica_and_lose_nothing(turn: Turn) -> Result<()> {
    in_namespace(&turn, "rolls", async |namespace| {
        let load = Generator { seed: SEED, count: None, rate: Some(RATE) }.source();
        let live = Live::start(namespace, &Spec::three().readable_topics().sources([load]), READY_WITHIN).await?;
        let mut account = Account::of_topic(SEED);
        let since = Utc::now();
        let brokers = live.pods(Component::Kafka).await?.iter().map(ResourceExt::name_any).collect::<Vec<_>>();
        let logs = BrokerLogs::follow(&live.pod_api(), brokers);
        let settings = &turn.run.settings;
        let mut random = StdRng::seed_from_u64(settings.seed);
        for number in 0..settings.rolls {
            // Each store once, then any.
            let store = STORES[if number < STORES.len() { number } else { random.random_range(0..STORES.len()) }];
            let change = change(store, number, &mut random);
            namespace.say(format!("roll {number}: {change}"));
            let took = rolled(&live, store, change).await?;
            namespace.say(format!("roll {number}: {store} after {took:?}"));
        }
        live.await_ready(RECOVERED_WITHIN).await?;

        let stores = STORES.map(|store| format!("{}-", live.names.component(store)));
        let brokers = format!("{}-", live.names.component(Component::Kafka));
        let writes = operator::writes(&namespace.cluster, &namespace.name, since).await?;
        let deleted = ensure_awaited(&logs.noted(), &writes, &stores, &brokers, 3)?;
        ensure!(deleted >= 3, "{deleted} brokers were restarted");
        namespace.say(format!("{deleted} brokers were restarted, and every partition was awaited each time"));

        namespace.say(format!("{} records acknowledged by then", account.acknowledged(&live).await?));
        let made = account.close(&live).await?.without_others()?;
        let found = live.table().await?.compare(made).await?;
        namespace.say(format!("past the rolls: {found}"));
        found.ensure_exact()
    })
    .await
}

/// Returns a change that restarts every member of a store: a restart that people ask for, or other resources.
fn change(store: Component, number: usize, random: &mut StdRng) -> Value {
    let of_store = match random.random_bool(0.5) {
        true => {
            json!({"podTemplate": {"annotations": {"kubectl.kubernetes.io/restartedAt": format!("roll-{number}")}}})
        }
        false => json!({"resources": {"requests": {"cpu": format!("{}m", 100 + number)}}}),
    };
    json!({"spec": {(store.as_str()): of_store}})
}

/// Changes a store, and waits until each of its members is another one, and ready.
async fn rolled(live: &Live, store: Component, change: Value) -> Result<Duration> {
    let uids = |pods: &[Pod]| pods.iter().filter_map(ResourceExt::uid).collect::<BTreeSet<_>>();
    let before = uids(&live.pods(store).await?);
    live.patch(change).await?;
    let (_, took) = eventually(&format!("{store} is rolled"), ROLLED_WITHIN, async || {
        let pods = live.pods(store).await?;
        let renewed = before.is_disjoint(&uids(&pods)) && pods.len() == before.len();
        Ok((renewed && pods.iter().all(is_ready)).then_some(()))
    })
    .await?;
    live.await_ready(RECOVERED_WITHIN).await?;
    Ok(took)
}
