"""The resource `/dropout`: forward, backward and the table of variants."""
