//! Progress of waves as both databases report it.

use model::campaign::WaveProgress;

use crate::columns::Columns;
use crate::error::StoreError;

/// Reads (wave, total, settled, bad, proposed, merged).
pub(crate) fn read(row: &impl Columns) -> Result<(usize, WaveProgress), StoreError> {
    let progress = WaveProgress {
        total: row.count(1)?,
        settled: row.count(2)?,
        bad: row.count(3)?,
        proposed: row.count(4)?,
        merged: row.count(5)?,
    };
    Ok((row.count(0)?, progress))
}

/// Waves by position: one without tasks is there too, empty.
pub(crate) fn without_gaps(rows: Vec<(usize, WaveProgress)>) -> Vec<WaveProgress> {
    let mut waves = Vec::new();
    for (wave, progress) in rows {
        // Waves are numbered without gaps by whoever plans them; the cap is against a damaged row.
        if wave <= waves.len() + 10_000 {
            waves.resize(wave, WaveProgress::default());
            waves.push(progress);
        }
    }
    waves
}
