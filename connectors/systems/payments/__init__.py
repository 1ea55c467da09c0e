"""Payment gateways: what we ask Alipay and WeChat Pay, and what they tell us."""
