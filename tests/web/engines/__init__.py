"""The same journeys in Chromium, Firefox and WebKitGTK: one interface for a page, one module per engine."""
