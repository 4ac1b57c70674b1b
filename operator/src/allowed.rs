//! Which stores of someone else the administrator lets pipelines name. Pure.
//!
//! A name may lead to an address that is not allowed: that is judged where it is resolved (`stores/src/discover.rs`).

use millrace_api::pipeline::External;
use millrace_api::{Pipeline, Rejected, Validated};
use millrace_stores::permitted::Permitted;

/// Takes out a pipeline on a store that may not be asked.
pub fn allowed(validated: Validated, permitted: &Permitted) -> Validated {
    let refused = validated.pipeline.as_ref().map(|pipeline| refused(pipeline, permitted)).unwrap_or_default();
    if refused.is_empty() {
        return validated;
    }
    Validated { pipeline: None, rejected: [validated.rejected, refused].concat() }
}

fn refused(pipeline: &Pipeline, permitted: &Permitted) -> Vec<Rejected> {
    let stores = [
        ("spec.kafka.external.bootstrapServers", &pipeline.kafka.placement),
        ("spec.cassandra.external.contactPoints", &pipeline.cassandra.placement),
    ];
    let mut refused = Vec::new();
    for (path, placement) in stores {
        let Some(External { addresses, .. }) = placement.external() else { continue };
        let forbidden = addresses.iter().enumerate().filter(|(_, address)| !permitted.may_ask(&address.host));
        refused.extend(forbidden.map(|(index, address)| Rejected {
            path: format!("{path}[{index}]"),
            message: format!(
                "the operator may not ask '{}'; use another store, or have the administrator add it to \
                 externalStores.allowed of the chart",
                address.host
            ),
            excerpt: None,
        }));
    }
    refused
}

#[cfg(test)]
mod tests {
    use millrace_api::{StreamingPipeline, validate_sources};
    use millrace_stores::permitted::Entry;

    use super::*;

    fn judged(listed: &[&str]) -> Vec<String> {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/samples/accepted/external-stores.yaml");
        let text = std::fs::read_to_string(sample).expect("the sample is there");
        let resource: StreamingPipeline = serde_yaml::from_str(&text).expect("the sample is a pipeline");
        let permitted: Permitted = listed.iter().map(|entry| entry.parse::<Entry>().expect("an entry")).collect();
        let Validated { pipeline, rejected } = allowed(validate_sources(&resource), &permitted);
        assert_eq!(pipeline.is_some(), rejected.is_empty());
        rejected.into_iter().map(|rejected| rejected.path).collect()
    }

    #[test]
    fn a_store_is_named_only_where_the_administrator_lists_it() {
        let (kafka, cassandra) =
            ("spec.kafka.external.bootstrapServers[0]", "spec.cassandra.external.contactPoints[0]");
        assert_eq!(judged(&[]), [kafka, cassandra]);
        assert_eq!(judged(&["kafka.example.com"]), [cassandra]);
        assert_eq!(judged(&["*.example.com"]), [""; 0]);
    }
}
