//! Layers put on one another, in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::layer::{Layer, Node};
use super::path;
use crate::{Error, LayerProblem};

/// A whole tree: no whiteouts, no unresolved links, a folder above everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) nodes: BTreeMap<Vec<u8>, Node>,
}

impl Tree {
    /// Puts a layer on top. First goes what the layer takes away, then comes what it adds, whatever their
    /// order in the archive: a whiteout is about lower layers only (image specification, "Whiteouts").
    ///
    /// # Errors
    /// [`Error::Layer`] naming the entry that would be written through a link or below a file, or that is
    /// a hard link to nothing.
    pub(crate) fn apply(&mut self, name: &str, layer: &Layer) -> Result<(), Error> {
        // Targets are looked up before anything goes.
        let mut linked = BTreeMap::new();
        for (path, node) in &layer.nodes {
            if let Node::HardLink { target } = node {
                let found = self.hard_link(target);
                linked.insert(
                    path,
                    found.map_err(|problem| Error::layer(name, path, problem))?,
                );
            }
        }
        for folder in &layer.opaque {
            self.empty(folder);
        }
        for path in &layer.whiteouts {
            self.remove(path);
        }
        // Folders come before what is in them: a path sorts before all that it begins.
        for (path, node) in &layer.nodes {
            let node = linked.get(path).unwrap_or(node);
            self.put(path, node)
                .map_err(|problem| Error::layer(name, path, problem))?;
        }
        Ok(())
    }

    fn hard_link(&self, target: &[u8]) -> Result<Node, LayerProblem> {
        let problem = |what| LayerProblem::HardLink {
            target: crate::error::clean(target),
            what,
        };
        match self.nodes.get(target) {
            Some(Node::File(file)) => Ok(Node::File(*file)),
            Some(Node::Symlink { .. }) => Err(problem("a symbolic link")),
            Some(Node::Folder { .. }) => Err(problem("a folder")),
            Some(Node::HardLink { .. }) | None => Err(problem("missing")),
        }
    }

    fn put(&mut self, path: &[u8], node: &Node) -> Result<(), LayerProblem> {
        let folder = path::split(path).0;
        if !folder.is_empty() {
            match self.nodes.get(folder) {
                Some(Node::Folder { .. }) => {}
                Some(Node::Symlink { .. }) => {
                    return Err(LayerProblem::ThroughLink(crate::error::clean(folder)));
                }
                // The layer has all folders above its entries, so they were put before.
                _ => return Err(LayerProblem::BelowFile(crate::error::clean(folder))),
            }
        }
        let there = self.nodes.get(path);
        match (node, there) {
            (Node::Folder { implied: true, .. }, Some(Node::Folder { .. })) => return Ok(()),
            // It is only a folder because something is below it: that would go through the link.
            (Node::Folder { implied: true, .. }, Some(Node::Symlink { .. })) => {
                return Err(LayerProblem::ThroughLink(crate::error::clean(path)));
            }
            (Node::Folder { implied: true, .. }, Some(_)) => {
                return Err(LayerProblem::BelowFile(crate::error::clean(path)));
            }
            (Node::Folder { .. }, Some(Node::Folder { .. })) => {}
            (_, Some(_)) => self.remove(path),
            (_, None) => {}
        }
        let mut node = node.clone();
        if let Node::Folder { implied, .. } = &mut node {
            *implied = false;
        }
        self.nodes.insert(path.to_vec(), node);
        Ok(())
    }

    fn remove(&mut self, path: &[u8]) {
        self.nodes.remove(path);
        self.empty(path);
    }

    /// Removes all below a path; of the root, everything but itself.
    fn empty(&mut self, folder: &[u8]) {
        let begin = if folder.is_empty() {
            Vec::new()
        } else {
            path::join(folder, b"")
        };
        let bounds = (Bound::Included(begin.clone()), Bound::Unbounded);
        let below = self.nodes.range(bounds).map(|(path, _)| path);
        let below: Vec<_> = below
            .take_while(|path| path.starts_with(&begin))
            .filter(|path| !path.is_empty())
            .cloned()
            .collect();
        for path in below {
            self.nodes.remove(&path);
        }
    }
}
