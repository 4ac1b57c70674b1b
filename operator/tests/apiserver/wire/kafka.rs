//! One broker that is the controller, leads every partition, and has no record.

use std::net::IpAddr;

use anyhow::{Result, anyhow, bail};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
use kafka_protocol::messages::{
    ApiKey, BrokerId, DescribeConfigsRequest, DescribeConfigsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    FindCoordinatorResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataResponse, OffsetFetchRequest,
    OffsetFetchResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes, decode_request_header_from_buffer};
use millrace_api::Pipeline;
use millrace_api::ports::KAFKA;
use millrace_stores::kafka::{OFFSETS_TOPIC, wanted_config};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use uuid::Uuid;

/// The broker.
const BROKER: BrokerId = BrokerId(0);
/// Members of every group: as many as any pipeline here wants.
const MEMBERS: usize = 8;
/// `config_source` of a value that was set on the topic itself.
const TOPIC_CONFIG: i8 = 1;

/// Answers one connection until the other side ends it.
pub(super) async fn answer(stream: &mut TcpStream, called: IpAddr, pipeline: &Pipeline) -> Result<()> {
    while let Some(length) = super::head::<4>(stream).await? {
        let mut request = Bytes::from(super::body(stream, u32::from_be_bytes(length)).await?);
        let header = decode_request_header_from_buffer(&mut request)?;
        let frame = respond(&header, &mut request, called, pipeline)?;
        stream.write_all(&frame).await?;
    }
    Ok(())
}

fn respond(header: &RequestHeader, request: &mut Bytes, called: IpAddr, pipeline: &Pipeline) -> Result<BytesMut> {
    let version = header.request_api_version;
    let key = header.request_api_key;
    match ApiKey::try_from(key).map_err(|()| anyhow!("there is no request {key} of Kafka"))? {
        ApiKey::Metadata => encoded(header, &metadata(called, pipeline)),
        ApiKey::FindCoordinator => encoded(header, &FindCoordinatorResponse::default().with_node_id(BROKER)),
        ApiKey::DescribeConfigs => {
            encoded(header, &configs(&DescribeConfigsRequest::decode(request, version)?, pipeline))
        }
        ApiKey::DescribeGroups => encoded(header, &groups(DescribeGroupsRequest::decode(request, version)?)),
        ApiKey::OffsetFetch => encoded(header, &committed(OffsetFetchRequest::decode(request, version)?)),
        ApiKey::ListOffsets => encoded(header, &bounds(ListOffsetsRequest::decode(request, version)?)),
        other => bail!("Kafka is asked {other:?}, which is not played"),
    }
}

fn encoded<R: Encodable + HeaderVersion>(header: &RequestHeader, response: &R) -> Result<BytesMut> {
    let version = header.request_api_version;
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    let own = ResponseHeader::default().with_correlation_id(header.correlation_id);
    own.encode(&mut frame, R::header_version(version))?;
    response.encode(&mut frame, version)?;
    let length = u32::try_from(frame.len() - 4)?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

fn metadata(called: IpAddr, pipeline: &Pipeline) -> MetadataResponse {
    let host = StrBytes::from_string(called.to_string());
    let broker = MetadataResponseBroker::default().with_node_id(BROKER).with_host(host).with_port(KAFKA.number.into());
    let own = topic(OFFSETS_TOPIC, 1, 1).with_is_internal(true);
    let declared = pipeline.kafka.topics.iter().zip(100..).map(|(found, id)| topic(&found.name, found.partitions, id));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_controller_id(BROKER)
        .with_topics(declared.chain([own]).collect())
}

fn topic(name: &str, partitions: u32, id: u128) -> MetadataResponseTopic {
    let partition = |index: u32| {
        MetadataResponsePartition::default()
            .with_partition_index(index.cast_signed())
            .with_leader_id(BROKER)
            .with_replica_nodes(vec![BROKER])
            .with_isr_nodes(vec![BROKER])
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))))
        .with_topic_id(Uuid::from_u128(id))
        .with_partitions((0..partitions).map(partition).collect())
}

fn configs(asked: &DescribeConfigsRequest, pipeline: &Pipeline) -> DescribeConfigsResponse {
    let entry = |(name, value): (String, String)| {
        DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_string(name))
            .with_value(Some(StrBytes::from_string(value)))
            .with_config_source(TOPIC_CONFIG)
    };
    let result = |resource: &DescribeConfigsResource| {
        let name = resource.resource_name.as_str();
        let declared = pipeline.kafka.topics.iter().find(|topic| topic.name == name);
        let config = declared.map(|topic| wanted_config(topic, 1)).unwrap_or_default();
        DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_configs(config.into_iter().map(entry).collect())
    };
    DescribeConfigsResponse::default().with_results(asked.resources.iter().map(result).collect())
}

fn groups(asked: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let group = |id| {
        DescribedGroup::default()
            .with_group_id(id)
            .with_group_state(StrBytes::from_static_str("Stable"))
            .with_members(vec![DescribedGroupMember::default(); MEMBERS])
    };
    DescribeGroupsResponse::default().with_groups(asked.groups.into_iter().map(group).collect())
}

fn committed(asked: OffsetFetchRequest) -> OffsetFetchResponse {
    let partition =
        |index: i32| OffsetFetchResponsePartition::default().with_partition_index(index).with_committed_offset(0);
    let topics = asked.topics.into_iter().flatten().map(|topic| {
        OffsetFetchResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(topic.partition_indexes.into_iter().map(partition).collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

/// Every log begins and ends at 0.
fn bounds(asked: ListOffsetsRequest) -> ListOffsetsResponse {
    let partition = |index: i32| ListOffsetsPartitionResponse::default().with_partition_index(index).with_offset(0);
    let topics = asked.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| partition(asked.partition_index));
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}
