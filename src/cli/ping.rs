//! `ottla ping`: whether a cluster answers, and how fast. Exit code 0 or 1, for scripts and
//! container probes.

use serde_json::json;

use super::connect::Connect;
use super::ended::Ended;
use super::output::{Output, or_dash};
use crate::client::Cluster;
use crate::types::NodeId;

/// Ask whether a cluster answers, and how fast
#[derive(Debug, clap::Args)]
pub(crate) struct Ping {
    #[command(flatten)]
    connect: Connect,
}

impl Ping {
    /// Does it.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(crate) async fn run(self, out: &mut Output) -> Result<(), Ended> {
        let answer = self.ask().await;
        if self.connect.json {
            let answer = match &answer {
                Ok((address, cluster, ms)) => json!({
                    "up": true,
                    "address": address,
                    "rtt_ms": ms,
                    "cluster_id": cluster.id,
                    "controller": cluster.controller.map(|node| node.0),
                    "brokers": cluster.brokers.iter().map(|(node, address)| json!({
                        "node_id": node.0, "address": address.to_string(),
                    })).collect::<Vec<_>>(),
                }),
                Err(Ended::Failed(errors)) => json!({ "up": false, "error": errors.join("; ") }),
                Err(_) => json!({ "up": false }),
            };
            out.json(&answer)?;
        }
        let (address, cluster, ms) = answer?;
        if !self.connect.json {
            let nodes = cluster.brokers.len();
            out.line(format_args!(
                "{address} answers in {ms:.2} ms: cluster {}, {nodes} {}, controller {}",
                or_dash(cluster.id.as_ref()),
                if nodes == 1 { "broker" } else { "brokers" },
                or_dash(cluster.controller.map(|NodeId(id)| id)),
            ))?;
        }
        Ok(())
    }

    /// The address that answered, what it said, and how long the answer took in ms.
    async fn ask(&self) -> Result<(String, Cluster, f64), Ended> {
        let mut client = self.connect.client().await?;
        let began = client.clock().elapsed();
        let cluster = client.cluster(Some(&[])).await?;
        let took = client.clock().elapsed().saturating_sub(began);
        let address = client.any().await?.address().to_owned();
        Ok((address, cluster, took.as_secs_f64() * 1_000.0))
    }
}
