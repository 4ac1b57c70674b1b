//! A disk of a store's own, in a file on its node: it can be filled, and its writes held up, without touching any other.
//!
//! The volume is there before the pipeline is; its StatefulSet takes it over by name, as it takes over kept ones.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::{Cluster, TestNamespace};

/// Makes the file `$1` of `$2` GiB into a disk at `$1.d`. The file has holes: what is not written takes no room.
const MAKE: &str = r#"set -e
truncate -s "$2G" "$1" && mkfs.ext4 -q -m 0 "$1" && mkdir -p "$1.d" && mount -o loop "$1" "$1.d" && rmdir "$1.d/lost+found""#;

/// Takes the disk away from the node; pods that still have it keep it to their end.
const REMOVE: &str = r#"rm -f "$1.d"/filler.*; umount -l "$1.d"; rmdir "$1.d"; rm -f "$1""#;

/// Takes all room that is left, and again what a server that ends meanwhile gives back.
const FILL: &str = r#"piece=0
while room=$(df --output=avail -B1 "$1.d" | tail -1); [ "$room" -ge 65536 ]; do
  piece=$((piece + 1)); [ "$piece" -le 200 ] || exit 1
  fallocate -l "$room" "$1.d/filler.$piece" 2>/dev/null || fallocate -l $((room / 2)) "$1.d/filler.$piece" 2>/dev/null || true
done"#;

/// Gives the room back.
const CLEAR: &str = r#"rm "$1.d"/filler.*"#;

/// Holds every write up for two seconds of each two and a half, `$2` times. Ends unfrozen whatever happens.
const SLOW: &str = r#"trap 'fsfreeze -u "$1.d" 2>/dev/null' EXIT
for round in $(seq "$2"); do fsfreeze -f "$1.d" && sleep 2; fsfreeze -u "$1.d"; sleep 0.5; done"#;

/// Length of one of the rounds that slow a disk down, in seconds.
const ROUND: f64 = 2.5;

/// A disk on a node, and the volume that is bound to one claim.
#[derive(Clone)]
pub struct Disk {
    cluster: Cluster,
    node: String,
    file: String,
    volume: String,
}

impl Disk {
    /// Makes a disk of so many GiB, and the claim `claim` with it.
    pub async fn make(namespace: &TestNamespace, node: &str, claim: &str, gibibytes: u32) -> Result<Self> {
        let volume = format!("{}-{claim}", namespace.name);
        let cluster = namespace.cluster.clone();
        let disk = Self { cluster, node: node.to_owned(), file: format!("/var/{volume}"), volume };
        disk.run(MAKE, &[&gibibytes.to_string()]).await.context("cannot make a disk")?;
        let made = disk.bind(namespace, claim, gibibytes).await;
        if made.is_err() {
            disk.remove().await?;
        }
        made.map(|()| disk)
    }

    async fn bind(&self, namespace: &TestNamespace, claim: &str, gibibytes: u32) -> Result<()> {
        let capacity = format!("{gibibytes}Gi");
        let nodes = json!([{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [self.node]},
        ]}]);
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": self.volume},
            "spec": {
                "capacity": {"storage": capacity}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain", "local": {"path": format!("{}.d", self.file)},
                "claimRef": {"namespace": namespace.name, "name": claim},
                "nodeAffinity": {"required": {"nodeSelectorTerms": nodes}},
            },
        });
        let volumes: Api<PersistentVolume> = Api::all(self.cluster.client.clone());
        let apply = PatchParams::apply("millrace-e2e");
        volumes.patch(&self.volume, &apply, &Patch::Apply(&volume)).await.context("cannot make the volume")?;
        let wanted = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": self.volume,
                "resources": {"requests": {"storage": capacity}},
            },
        });
        namespace.apply::<PersistentVolumeClaim>(claim, &wanted).await
    }

    /// Takes all room that is left on it.
    pub async fn fill(&self) -> Result<()> {
        self.run(FILL, &[]).await.context("cannot fill the disk")
    }

    /// Gives that room back.
    pub async fn clear(&self) -> Result<()> {
        self.run(CLEAR, &[]).await.context("cannot give the room back")
    }

    /// Holds its writes up again and again for so many seconds.
    pub async fn slow_down(&self, seconds: u64) -> Result<()> {
        let rounds = (seconds as f64 / ROUND).ceil().to_string();
        self.run(SLOW, &[&rounds]).await.context("cannot slow the disk down")
    }

    /// Removes disk and volume; the claim goes with its namespace.
    pub async fn remove(&self) -> Result<()> {
        let volumes: Api<PersistentVolume> = Api::all(self.cluster.client.clone());
        let deleted = volumes.delete(&self.volume, &DeleteParams::default()).await;
        self.run(REMOVE, &[]).await.context("cannot remove the disk")?;
        deleted.map(|_| ()).context("cannot delete the volume")
    }

    async fn run(&self, script: &str, arguments: &[&str]) -> Result<()> {
        let arguments: Vec<&str> = [self.file.as_str()].into_iter().chain(arguments.iter().copied()).collect();
        self.cluster.on_node(&self.node, script, &arguments).await.map(|_| ())
    }
}
