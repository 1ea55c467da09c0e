"""Any OMS or ERP with a JSON API, connected by filling in a form."""
