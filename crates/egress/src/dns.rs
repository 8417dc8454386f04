//! Names inside an environment: answers are made up, nothing is ever asked outside.
