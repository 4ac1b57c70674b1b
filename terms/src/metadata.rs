//! Addresses at which clouds tell their machines who they are, credentials included. Plain data: the worker refuses them to
//! sources, and the operator's NetworkPolicies block them.
//!
//! Some are addresses of the public internet; the others are listed since a name that the chart allows may have private
//! addresses, and must not have these.

/// Each network, and the page of the cloud that documents it.
pub const METADATA: [(&str, &str); 13] = [
    // AWS, Google, Azure, Oracle, OpenStack, DigitalOcean, Hetzner, IBM and others answer at 169.254.169.254; AWS also at
    // 169.254.170.2 (ECS tasks) and 169.254.170.23 (EKS Pod Identity), Tencent at 169.254.0.23, Scaleway at 169.254.42.42.
    ("169.254.0.0/16", "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html"),
    ("fe80::a9fe:a9fe/128", "https://docs.openstack.org/nova/latest/user/metadata.html"),
    // The instance metadata, Pod Identity, DNS and time of AWS over IPv6.
    ("fd00:ec2::/32", "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html"),
    ("fd20:ce::254/128", "https://cloud.google.com/compute/docs/metadata/querying-metadata"),
    // Azure's WireServer: certificates and settings of the machine, at an address that is public elsewhere.
    ("168.63.129.16/32", "https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16"),
    ("100.100.100.200/32", "https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata"),
    ("fd00:100::100:200/128", "https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata"),
    ("fd00:c1::a9fe:a9fe/128", "https://docs.oracle.com/en-us/iaas/Content/Compute/Tasks/gettingmetadata.htm"),
    (
        "192.0.0.192/32",
        "https://docs.oracle.com/en/cloud/iaas/compute-iaas-cloud/stcsg/retrieving-instance-metadata.html",
    ),
    ("fd00:42::42/128", "https://www.scaleway.com/en/docs/instances/how-to/use-cloud-init/"),
    ("fd00:a9fe:a9fe::1/128", "https://techdocs.akamai.com/cloud-computing/docs/overview-of-the-metadata-service"),
    ("100.96.0.96/32", "https://www.volcengine.com/docs/6396/67952"),
    // Equinix Metal, formerly Packet: public elsewhere.
    ("192.80.8.124/32", "https://deploy.equinix.com/developers/docs/metal/server-metadata/metadata/"),
];
