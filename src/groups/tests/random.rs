//! Random requests of a few clients to a few groups, with time, restarts and deletions between, under
//! the checks of [`Harness`]. A failure prints its seed; `OTTLA_SEED=n` runs that one alone.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::script::fresh_id;
use crate::groups::{
    Command, CommitOffsets, CommitOffsetsInTransaction, Coordinator, DeleteOffsets, EndTransaction,
    FetchGroup, FetchOffsets, GroupConfig, GroupError, Heartbeat, JoinGroup, Joined, LeaveGroup,
    Leaving, ListGroups, PartitionCommit, Protocol, Reply, SyncGroup, SyncProtocol, TopicCommit,
};
use crate::machine::Ticket;
use crate::machine::testing::{Dice, Harness, for_each_seed};
use crate::records::{EndMarker, Outcome};
use crate::types::{
    Generation, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId,
};

const SEEDS: u64 = 12;
const STEPS: u32 = 400;
const PRODUCERS: [i64; 3] = [1, 2, 3];
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

#[test]
fn random_operations_keep_the_invariants() {
    for_each_seed(SEEDS, |seed| {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.fall_silent();
    });
}

/// A member id that some client believes to have.
#[derive(Clone, Debug)]
struct Client {
    group_id: String,
    member_id: String,
    group_instance_id: Option<String>,
    generation: Generation,
    protocols: Vec<Protocol>,
}

struct World {
    harness: Harness<Coordinator>,
    dice: Dice,
    tickets: u64,
    clients: Vec<Client>,
    /// Joins that wait: what they asked for.
    asked: BTreeMap<Ticket, JoinGroup>,
    /// Who was told to assign in a generation.
    leaders: BTreeMap<(String, Generation), String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let config = GroupConfig {
            group_size_max: 5,
            group_count_max: 4,
            offset_metadata_max_bytes: 8,
            initial_rebalance_delay_ms: if seed.is_multiple_of(2) { 0 } else { 3_000 },
            ..GroupConfig::default()
        };
        Self {
            harness: Harness::new(config),
            dice: Dice::new(seed),
            tickets: 0,
            clients: Vec::new(),
            asked: BTreeMap::new(),
            leaders: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..20 => self.join_new(),
            20..40 => self.rejoin(),
            40..60 => self.sync(),
            60..68 => self.heartbeat(),
            68..71 => self.leave(),
            71..76 => self.commit(),
            76..80 => self.commit_in_transaction(),
            80..82 => self.end_transaction(),
            82..86 => self.administer(),
            86..97 => {
                let ms = self.dice.pick(&[1, 1_000, 2_999, 5_000, 9_999, 70_000]);
                self.advance(ms);
            }
            97 => {
                let ms = self.dice.pick(&[600_000, DAY_MS, 8 * DAY_MS]);
                self.advance(ms);
            }
            _ => {
                self.harness.restart();
                self.asked.clear();
                self.leaders.clear();
            }
        }
        self.forget_gone_groups();
    }

    /// Without any requests every caller is answered, and at last every group goes, once the
    /// transactions have timed out.
    fn fall_silent(&mut self) {
        for id in PRODUCERS {
            self.end(id, 9, Outcome::Abort);
        }
        self.advance(4 * 60 * 60 * 1_000);
        assert_eq!(self.harness.waiting_count(), 0, "everyone is answered");
        self.advance(9 * DAY_MS);
        assert_eq!(self.harness.machine.group_count(), 0, "nothing stays for ever");
    }

    fn advance(&mut self, ms: u64) {
        let effects = self.harness.advance(ms);
        self.hear(&effects.replies);
    }

    fn run(&mut self, command: Command) -> Vec<(Ticket, Reply)> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        if let Command::Join(request) = &command {
            self.asked.insert(ticket, request.clone());
        }
        let effects = self.harness.run(ticket, command);
        self.hear(&effects.replies);
        effects.replies
    }

    fn hear(&mut self, replies: &[(Ticket, Reply)]) {
        for (ticket, reply) in replies {
            let Some(request) = self.asked.remove(ticket) else { continue };
            if let Reply::Join(Ok(joined)) = reply {
                self.joined(&request, joined);
                self.learn(&request, &joined.member_id, joined.generation);
            } else if let Reply::Join(Err(GroupError::MemberIdRequired(id))) = reply {
                self.learn(&request, id, Generation(-1));
            }
        }
    }

    /// In one generation one member is told to assign.
    fn joined(&mut self, request: &JoinGroup, joined: &Joined) {
        if joined.members.is_empty() || joined.skip_assignment {
            return;
        }
        assert_eq!(joined.leader, joined.member_id, "the members are the leader's to see");
        let turn = (request.group_id.clone(), joined.generation);
        let leader = self.leaders.entry(turn).or_insert_with(|| joined.member_id.clone());
        assert_eq!(*leader, joined.member_id, "one leader a generation");
    }

    fn learn(&mut self, request: &JoinGroup, member_id: &str, generation: Generation) {
        self.clients.retain(|it| it.member_id != member_id || it.group_id != request.group_id);
        self.clients.push(Client {
            group_id: request.group_id.clone(),
            member_id: member_id.to_owned(),
            group_instance_id: request.group_instance_id.clone(),
            generation,
            protocols: request.protocols.clone(),
        });
        if self.clients.len() > 12 {
            self.clients.remove(0);
        }
    }

    /// A group that was deleted counts its generations anew.
    fn forget_gone_groups(&mut self) {
        let ids: Vec<String> = self.leaders.keys().map(|(id, _)| id.clone()).collect();
        let list = self.run(Command::List(ListGroups::default()));
        let [(_, Reply::List(listed))] = list.as_slice() else { panic!("{list:?}") };
        for id in ids.iter().filter(|id| listed.iter().all(|it| it.group_id != **id)) {
            self.leaders.retain(|(group_id, _), _| group_id != id);
        }
    }

    fn group(&mut self) -> String {
        self.dice.pick(&["g", "g", "g", "h", "i", "k", "l"]).to_owned()
    }

    fn client(&mut self) -> Option<Client> {
        let mut client = (!self.clients.is_empty()).then(|| {
            let clients = self.clients.clone();
            self.dice.pick(&clients)
        })?;
        if self.dice.chance(5) {
            client.generation.0 -= 1;
        }
        if self.dice.chance(5) {
            client.group_instance_id = Some("one".to_owned());
        }
        Some(client)
    }

    fn protocols(&mut self) -> Vec<Protocol> {
        let said =
            self.dice.pick(&[&b"\0\0\0\0\0\x01\0\x01t"[..], b"\0\0\0\0\0\x01\0\x01u", b"??"]);
        let protocol =
            |name: &str| Protocol { name: name.to_owned(), metadata: Bytes::from_static(said) };
        let names = self.dice.pick(&[
            &["range"][..],
            &["range", "sticky"],
            &["sticky", "range"],
            &["sticky"],
            &["range", "range"],
            &[],
        ]);
        names.iter().map(|name| protocol(name)).collect()
    }

    fn request(&mut self, group_id: String) -> JoinGroup {
        let version = self.dice.pick(&[3, 5, 9]);
        self.tickets += 1;
        JoinGroup {
            group_id,
            member_id: String::new(),
            group_instance_id: None,
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: self.dice.pick(&[6_000, 10_000, 60_000, 1_800_000, 0]),
            rebalance_timeout_ms: self.dice.pick(&[-1, 0, 5_000, 60_000, 400_000]),
            protocol_type: self
                .dice
                .pick(&["consumer", "consumer", "consumer", "connect"])
                .to_owned(),
            protocols: self.protocols(),
            requires_member_id: version >= 4,
            supports_skip_assignment: version >= 9,
            fresh_id: fresh_id(u32::try_from(self.tickets).unwrap()),
        }
    }

    fn join_new(&mut self) {
        let group_id = self.group();
        let mut request = self.request(group_id);
        request.group_instance_id =
            self.dice.pick(&[None, None, Some("one"), Some("two")]).map(str::to_owned);
        self.run(Command::Join(request));
    }

    fn rejoin(&mut self) {
        let Some(client) = self.client() else { return };
        let request = self.request(client.group_id);
        let protocols =
            if self.dice.chance(80) { client.protocols } else { request.protocols.clone() };
        self.run(Command::Join(JoinGroup {
            member_id: client.member_id,
            group_instance_id: client.group_instance_id,
            protocols,
            ..request
        }));
    }

    fn sync(&mut self) {
        let Some(client) = self.client() else { return };
        let share = |it: &Client| (it.member_id.clone(), Bytes::from_static(b"share"));
        let text = Some("consumer".to_owned());
        let protocol =
            SyncProtocol { protocol_type: text, protocol_name: Some("range".to_owned()) };
        let protocol = self.dice.pick(&[None, None, Some(protocol)]);
        self.run(Command::Sync(SyncGroup {
            group_id: client.group_id,
            generation: client.generation,
            member_id: client.member_id,
            group_instance_id: client.group_instance_id,
            protocol,
            assignments: self.clients.iter().map(share).collect(),
        }));
    }

    fn heartbeat(&mut self) {
        let Some(client) = self.client() else { return };
        self.run(Command::Heartbeat(Heartbeat {
            group_id: client.group_id,
            generation: client.generation,
            member_id: client.member_id,
            group_instance_id: client.group_instance_id,
        }));
    }

    fn leave(&mut self) {
        let Some(client) = self.client() else { return };
        let one =
            Leaving { member_id: client.member_id, group_instance_id: client.group_instance_id };
        let other = Leaving { member_id: String::new(), group_instance_id: Some("two".to_owned()) };
        let members = self.dice.pick(&[vec![one.clone()], vec![one, other.clone()], vec![other]]);
        self.run(Command::Leave(LeaveGroup { group_id: client.group_id, members }));
    }

    /// A client, or nobody in particular.
    fn committer(&mut self) -> Client {
        let anyone = Client {
            group_id: self.group(),
            member_id: String::new(),
            group_instance_id: None,
            generation: Generation(-1),
            protocols: Vec::new(),
        };
        let client = self.client().unwrap_or_else(|| anyone.clone());
        self.dice.pick(&[client, anyone])
    }

    fn commits(&mut self) -> TopicCommit {
        let row = PartitionCommit {
            partition: PartitionIndex(0),
            offset: Offset(i64::try_from(self.dice.below(1_000)).unwrap() - 2),
            leader_epoch: self.dice.pick(&[None, Some(LeaderEpoch(3))]),
            metadata: self.dice.pick(&["", "note", "far too long"]).to_owned(),
        };
        TopicCommit {
            topic: self.dice.pick(&["t", "u"]).to_owned(),
            topic_id: self.dice.pick(&[TopicId::ZERO, TopicId(fresh_id(7))]),
            partitions: vec![row],
        }
    }

    fn commit_in_transaction(&mut self) {
        let (client, topics) = (self.committer(), vec![self.commits(), self.commits()]);
        let command = CommitOffsetsInTransaction {
            producer_id: ProducerId(self.dice.pick(&PRODUCERS)),
            producer_epoch: ProducerEpoch(self.dice.pick(&[0, 0, 0, 1])),
            group_id: client.group_id,
            member_id: client.member_id,
            group_instance_id: client.group_instance_id,
            generation: client.generation,
            topics,
        };
        self.run(Command::CommitOffsetsInTransaction(command));
    }

    fn end_transaction(&mut self) {
        let (id, epoch) = (self.dice.pick(&PRODUCERS), self.dice.pick(&[0, 1, 1]));
        let outcome = self.dice.pick(&[Outcome::Commit, Outcome::Commit, Outcome::Abort]);
        self.end(id, epoch, outcome);
    }

    fn end(&mut self, id: i64, epoch: i16, outcome: Outcome) {
        self.run(Command::EndTransaction(EndTransaction {
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(epoch),
            marker: EndMarker { outcome, coordinator_epoch: 0 },
        }));
    }

    fn commit(&mut self) {
        let (client, commits) = (self.committer(), self.commits());
        let (topic, partition) = (commits.topic.clone(), commits.partitions[0].partition);
        let offset = commits.partitions[0].offset;
        let retention_ms = self.dice.pick(&[None, None, Some(-1), Some(700_000)]);
        let replies = self.run(Command::CommitOffsets(CommitOffsets {
            group_id: client.group_id.clone(),
            member_id: client.member_id,
            group_instance_id: client.group_instance_id,
            generation: client.generation,
            retention_ms,
            knows_group_id_not_found: true,
            topics: vec![commits],
        }));
        let [(_, Reply::CommitOffsets(Ok(results)))] = replies.as_slice() else { return };
        if results.iter().all(|it| it.partitions.iter().all(|(_, result)| result.is_ok())) {
            self.expect(&client.group_id, &topic, partition, offset);
        }
    }

    fn expect(&mut self, group_id: &str, topic: &str, partition: PartitionIndex, offset: Offset) {
        let topics = Some(vec![(topic.to_owned(), vec![partition])]);
        let groups = vec![FetchGroup { group_id: group_id.to_owned(), topics }];
        let replies =
            self.run(Command::FetchOffsets(FetchOffsets { groups, require_stable: false }));
        let [(_, Reply::FetchOffsets(fetched))] = replies.as_slice() else { panic!("{replies:?}") };
        let kept = fetched[0].topics[0].1[0].committed.as_ref().map(|it| it.offset);
        assert_eq!(kept, Some(offset), "what was committed is fetched");
    }

    fn administer(&mut self) {
        let group_id = self.group();
        let topics = vec![("t".to_owned(), vec![PartitionIndex(0)])];
        let command = match self.dice.below(5) {
            0 => Command::DeleteGroups(vec![group_id]),
            1 => Command::DeleteOffsets(DeleteOffsets { group_id, topics }),
            2 => Command::Describe(vec![group_id]),
            3 => Command::FetchOffsets(FetchOffsets {
                groups: vec![FetchGroup { group_id, topics: None }],
                require_stable: true,
            }),
            _ => Command::TopicsDeleted(vec![("t".to_owned(), TopicId::ZERO)]),
        };
        self.run(command);
    }
}
