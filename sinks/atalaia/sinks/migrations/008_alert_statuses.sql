-- Alerts have more to say: what they do while there is no verdict, and what late data did to a decision.
ALTER TABLE alert_events COMMENT COLUMN IF EXISTS
    status 'inactive, pending, firing, recovering or resolved; no_data, error or awaiting_data while firing without a verdict; amended or retracted by late data';
