//! The promises of the protocol.

/// A promise of the protocol; the numbers are those of the invariants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Promise {
    /// 1. A terminal status never changes.
    TerminalStays,
    /// 2. At most one lease of a job is valid, and only its reports count.
    OneLease,
    /// 3. An attempt starts only when the job's needs hold.
    NeedsHold,
    /// 4. Every execution ends. Checked for single jobs; [`super::liveness`] checks it for executions.
    Ends,
    /// 5. One key creates one execution.
    OneExecution,
    /// 6. The final status follows from the jobs and is written once.
    FinalStatus,
    /// 7. Acknowledged data stays.
    Acknowledged,
    /// 8. After an acknowledged cancel no attempt starts.
    CancelHolds,
    /// 8. A canceled attempt ends within the grace period. Checked where the model has times: for single jobs.
    CancelInTime,
}

impl Promise {
    pub fn description(self) -> &'static str {
        match self {
            Self::TerminalStays => "1. a terminal status never changes",
            Self::OneLease => "2, 10. one lease is valid, and only its reports count",
            Self::NeedsHold => "3. an attempt starts only when its needs hold",
            Self::Ends => "4. every execution ends",
            Self::OneExecution => "5. one key makes one execution",
            Self::FinalStatus => "6. the final status follows from the jobs and is written once",
            Self::Acknowledged => "7. acknowledged data stays",
            Self::CancelHolds => "8. after an acknowledged cancel no attempt starts",
            Self::CancelInTime => "8. a canceled attempt ends in time",
        }
    }
}
