//! The secrets of the replicas that write here: of this one, and of pages that have ended and left their edits.
//!
//! Hello says them. Of a page whose edits are taken over later, another message does, before those edits are sent.

use crate::{ReplicaId, Secret, limits::REPLICAS_MAX};

/// The secrets, first this replica's own. At most [`REPLICAS_MAX`]: of more pages the first are forgotten, and what they wrote counts as
/// anybody's.
#[derive(Clone, Debug)]
pub(super) struct Proofs {
    known: Vec<(ReplicaId, Secret)>,
    /// How many of them the server was told over this connection.
    told: usize,
}

impl Proofs {
    pub(super) fn new(own: Secret) -> Self {
        Self { known: vec![(own.replica(), own)], told: 1 }
    }

    /// The secret of a replica, if it is known here.
    pub(super) fn get(&self, replica: ReplicaId) -> Option<Secret> {
        self.known.iter().find(|(known, _)| *known == replica).map(|(_, secret)| *secret)
    }

    pub(super) fn add(&mut self, secret: Secret) {
        let replica = secret.replica();
        if self.get(replica).is_some() {
            return;
        }
        if self.known.len() == REPLICAS_MAX {
            self.known.remove(1);
            self.told = self.told.saturating_sub(1).max(1);
        }
        self.known.push((replica, secret));
    }

    /// What Hello says.
    pub(super) fn greet(&mut self) -> Vec<Secret> {
        self.told = 0;
        self.take_news().expect("its own is there")
    }

    /// What the server is to be told over this connection and was not.
    pub(super) fn take_news(&mut self) -> Option<Vec<Secret>> {
        let news: Vec<Secret> = self.known[self.told..].iter().map(|(_, secret)| *secret).collect();
        self.told = self.known.len();
        (!news.is_empty()).then_some(news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_a_connection() {
        let secret = |n: u8| Secret([n; 16]);
        let mut proofs = Proofs::new(secret(0));
        assert_eq!(proofs.greet(), [secret(0)]);
        proofs.add(secret(1));
        proofs.add(secret(1));
        assert_eq!((proofs.take_news(), proofs.take_news()), (Some(vec![secret(1)]), None));
        (2..80).for_each(|n| proofs.add(secret(n)));
        assert_eq!(proofs.take_news().unwrap().len(), REPLICAS_MAX - 1);
        let all = proofs.greet();
        assert_eq!((all.len(), all[0], all[63]), (REPLICAS_MAX, secret(0), secret(79)));
        assert_eq!((proofs.get(secret(5).replica()), proofs.get(secret(79).replica())), (None, Some(secret(79))));
    }
}
