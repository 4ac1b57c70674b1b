//! Parses what every component has: pods, resources, volumes, JVM options and further clients.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use millrace_terms::Bytes;

use super::Parse;
use crate::crd::{self, Amount};
use crate::names::Component;
use crate::pipeline::{Resources, Storage};
use crate::pod_template::{self, PodTemplate};
use crate::quantity::Quantity;
use crate::{access, jvm_options};

/// Default CPU and memory of a component.
pub(super) struct Defaults {
    pub(super) cpu: &'static str,
    pub(super) memory: u64,
}

pub(super) const MEBIBYTE: u64 = 1 << 20;

impl Parse {
    pub(super) fn resources(&mut self, path: &str, written: &crd::Resources, defaults: &Defaults) -> Resources {
        let requests = written.requests.clone().unwrap_or_default();
        let limits = written.limits.clone().unwrap_or_default();
        let limit = limits.memory.map(|amount| self.bytes(&format!("{path}.limits.memory"), &amount));
        let request = requests.memory.map(|amount| self.bytes(&format!("{path}.requests.memory"), &amount));
        for (list, cpu) in [("requests", &requests.cpu), ("limits", &limits.cpu)] {
            if let Some(Amount(text)) = cpu {
                self.parse(&format!("{path}.{list}.cpu"), text, Quantity::default());
            }
        }
        let memory_request = request.or(limit).unwrap_or(Bytes(defaults.memory));
        let memory_limit = limit.unwrap_or(memory_request);
        if memory_limit < memory_request {
            self.reject(format!("{path}.limits.memory"), "the limit is below the request; raise it");
        }
        Resources {
            cpu_request: requests.cpu.map_or_else(|| defaults.cpu.to_owned(), |Amount(cpu)| cpu),
            cpu_limit: limits.cpu.map(|Amount(cpu)| cpu),
            memory_request,
            memory_limit,
        }
    }

    pub(super) fn pods(&mut self, component: Component, written: Option<&serde_json::Value>) -> PodTemplate {
        let Some(written) = written else { return PodTemplate::default() };
        let path = format!("spec.{component}.podTemplate");
        pod_template::parse(&path, component, written).unwrap_or_else(|rejected| {
            self.hold(component, rejected);
            PodTemplate::default()
        })
    }

    pub(super) fn jvm_options(&mut self, component: Component, written: &[String]) -> Vec<String> {
        let path = format!("spec.{component}.jvmOptions");
        let rejected = jvm_options::refused(&path, component, written);
        if rejected.is_empty() {
            return written.to_vec();
        }
        self.hold(component, rejected);
        Vec::new()
    }

    pub(super) fn access(&mut self, component: Component, written: Option<&crd::Access>) -> Vec<NetworkPolicyPeer> {
        let from = written.map(|access| access.from.as_slice()).unwrap_or_default();
        access::parse(&format!("spec.{component}.access.from"), from).unwrap_or_else(|rejected| {
            self.hold(component, rejected);
            Vec::new()
        })
    }

    pub(super) fn storage(&mut self, path: &str, written: &crd::Storage) -> Storage {
        let crd::Storage { size: Amount(size), class_name } = written;
        self.parse(&format!("{path}.size"), size, Quantity::default());
        Storage { size: size.clone(), class_name: class_name.clone() }
    }
}
