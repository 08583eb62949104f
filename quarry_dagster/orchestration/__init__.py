"""What starts runs: jobs and sensors."""
