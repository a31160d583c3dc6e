//! DescribeCluster (API 60, v0-2): the cluster and its brokers (KIP-700). KIP-919 (v1: brokers or
//! controllers), KIP-1073 (v2: fenced brokers, of which there are none).

use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use crate::server::dispatch::Cx;

/// The endpoints asked for: those of brokers.
const BROKERS: i8 = 1;
/// Those of controllers, which only a controller tells.
const CONTROLLERS: i8 = 2;

pub(super) fn handle(cx: &Cx, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let refused = |error_code, message: String| DescribeClusterResponse {
        error_code,
        error_message: Some(message),
        ..DescribeClusterResponse::default()
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let message = "endpoints of controllers are asked of a controller, this is a broker";
            return refused(ErrorCode::MismatchedEndpointType, message.to_owned());
        }
        other => {
            let message = format!("endpoint type {other} is not 1 (brokers) or 2 (controllers)");
            return refused(ErrorCode::UnsupportedEndpointType, message);
        }
    }
    let endpoints = cx.call.context.endpoints.iter();
    let brokers = endpoints.map(|(node, endpoint)| DescribeClusterBroker {
        broker_id: node.0,
        host: endpoint.host.clone(),
        port: i32::from(endpoint.port),
        rack: cx.broker.config.broker_rack.clone(),
        is_fenced: false,
    });
    DescribeClusterResponse {
        cluster_id: cx.broker.cluster_id.clone(),
        controller_id: cx.broker.node_id.0,
        brokers: brokers.collect(),
        ..DescribeClusterResponse::default()
    }
}
