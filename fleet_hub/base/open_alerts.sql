SELECT open_alerts()
