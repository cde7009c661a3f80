"""Commands that follow a launch: each module adds one to the command line (`add_to`) and does what it says."""
