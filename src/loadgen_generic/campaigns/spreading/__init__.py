"""The tests of a campaign on the nodes of a cluster, one test at a time on each."""
