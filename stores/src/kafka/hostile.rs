//! Bytes of brokers that mean no good, to everything that reads answers and batches. Run it with `ulimit -v`, too: memory
//! that is announced and never comes shows there first.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsResponse, BrokerId, CreatePartitionsResponse, CreateTopicsResponse,
    DescribeConfigsResponse, DescribeGroupsResponse, DescribeLogDirsResponse, ElectLeadersResponse, FetchResponse,
    FindCoordinatorResponse, IncrementalAlterConfigsResponse, ListOffsetsResponse, ListPartitionReassignmentsResponse,
    MetadataResponse, OffsetFetchResponse, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use kafka_protocol::records::Compression;
use millrace_fuzz::{Corpus, feed};

use super::answer::Answer;
use super::compression::unpacked;
use super::fetch::decoded;
use super::fetch::tests::{batch, crc32c};
use super::{topic_name, version};

const NUMBERS: &[&str] = &["\u{0}", "\u{1}", "\u{7f}", "\u{0}\u{0}\u{0}\u{0}", "topic"];

fn written<R: Encodable>(response: &R, version: i16) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    response.encode(&mut bytes, version).expect("it encodes");
    bytes.to_vec()
}

/// Feeds what reads one kind of answer with mutations of a true one.
fn feed_answers<R: Decodable + Encodable>(name: &str, response: &R, version: i16) {
    let whole = written(response, version);
    let corpus = Corpus { inputs: &[&whole], words: NUMBERS, longest: 64 << 10 };
    feed(name, corpus, |input| {
        let _ = R::decode(&mut Answer::new(Bytes::copy_from_slice(input)), version);
    });
}

#[test]
fn no_answer_breaks_its_reader() {
    let name = || topic_name("users_created");
    let text = StrBytes::from_static_str;
    let partition = MetadataResponsePartition::default().with_replica_nodes(vec![BrokerId(0); 3]);
    let topic = MetadataResponseTopic::default().with_name(Some(name())).with_partitions(vec![partition; 3]);
    let broker = MetadataResponseBroker::default().with_host(text("a.example")).with_port(9092);
    let metadata = MetadataResponse::default().with_brokers(vec![broker; 3]).with_topics(vec![topic; 2]);
    feed_answers("metadata", &metadata, version::METADATA);

    let config = DescribeConfigsResourceResult::default().with_name(text("retention.ms")).with_value(Some(text("1")));
    let result = DescribeConfigsResult::default().with_resource_name(text("a")).with_configs(vec![config; 3]);
    let configs = DescribeConfigsResponse::default().with_results(vec![result; 2]);
    feed_answers("configurations", &configs, version::DESCRIBE_CONFIGS);

    let offset = ListOffsetsPartitionResponse::default().with_offset(7);
    let topic = ListOffsetsTopicResponse::default().with_name(name()).with_partitions(vec![offset; 3]);
    feed_answers("offsets", &ListOffsetsResponse::default().with_topics(vec![topic]), version::LIST_OFFSETS);

    let offset = OffsetFetchResponsePartition::default().with_committed_offset(7);
    let topic = OffsetFetchResponseTopic::default().with_name(name()).with_partitions(vec![offset; 3]);
    feed_answers("committed", &OffsetFetchResponse::default().with_topics(vec![topic]), version::OFFSET_FETCH);

    let member = DescribedGroupMember::default().with_client_id(text("processor"));
    let group = DescribedGroup::default().with_members(vec![member; 3]);
    feed_answers("groups", &DescribeGroupsResponse::default().with_groups(vec![group]), version::DESCRIBE_GROUPS);

    let data = PartitionData::default().with_records(Some(Bytes::from(vec![1; 200])));
    let topic = FetchableTopicResponse::default().with_topic(name()).with_partitions(vec![data; 2]);
    feed_answers("records", &FetchResponse::default().with_responses(vec![topic]), version::FETCH);

    feed_answers("coordinator", &FindCoordinatorResponse::default(), version::FIND_COORDINATOR);
    feed_answers("created", &CreateTopicsResponse::default(), version::CREATE_TOPICS);
    feed_answers("partitions", &CreatePartitionsResponse::default(), version::CREATE_PARTITIONS);
    feed_answers("altered", &IncrementalAlterConfigsResponse::default(), version::ALTER_CONFIGS);
    let moving = OngoingPartitionReassignment::default().with_replicas(vec![BrokerId(0); 4]);
    let topic = OngoingTopicReassignment::default().with_name(name()).with_partitions(vec![moving; 3]);
    let moving = ListPartitionReassignmentsResponse::default().with_topics(vec![topic]);
    feed_answers("reassignments", &moving, version::LIST_REASSIGNMENTS);
    let size = DescribeLogDirsPartition::default().with_partition_size(7);
    let topic = DescribeLogDirsTopic::default().with_name(name()).with_partitions(vec![size; 3]);
    let dir = DescribeLogDirsResult::default().with_log_dir(text("/data")).with_topics(vec![topic]);
    let dirs = DescribeLogDirsResponse::default().with_results(vec![dir]);
    feed_answers("log dirs", &dirs, version::DESCRIBE_LOG_DIRS);
    feed_answers("moved", &AlterPartitionReassignmentsResponse::default(), version::ALTER_REASSIGNMENTS);
    feed_answers("elected", &ElectLeadersResponse::default(), version::ELECT_LEADERS);

    feed_answers("head", &ResponseHeader::default(), 1);
}

/// Behind a right checksum: a broker can compute it, too.
#[test]
fn no_batch_breaks_its_reader() {
    let (one, three) = (batch(10, &["a"], false), batch(11, &["b", "c", "d"], false));
    let corpus = Corpus { inputs: &[&one, &three], words: NUMBERS, longest: 64 << 10 };
    feed("batches", corpus, |input| {
        let mut batch = input.to_vec();
        if let Some(sum) = batch.get(21..).map(crc32c) {
            batch[17..21].copy_from_slice(&sum.to_be_bytes());
        }
        let _ = decoded(PartitionData::default().with_records(Some(batch.into())), 10, 1 << 20);
    });
}

#[test]
fn no_packed_batch_breaks_its_reader() {
    let zstd = zstd::encode_all(&b"a record, a record"[..], 1).expect("it is packed");
    let snappy = snap::raw::Encoder::new().compress_vec(b"a record, a record").expect("it is packed");
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x54\x00\x00\x43\xbe\xb7\xe8\x01\x00\x00\x00";
    let lz4 = b"\x04\x22\x4d\x18\x60\x40\x82\x05\x00\x00\x80hello\x00\x00\x00\x00";
    let corpus = Corpus { inputs: &[&zstd, &snappy, gzip, lz4], words: NUMBERS, longest: 64 << 10 };
    feed("packed batches", corpus, |input| {
        let packed = Bytes::copy_from_slice(input);
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let _ = unpacked(&packed, codec);
        }
    });
}
