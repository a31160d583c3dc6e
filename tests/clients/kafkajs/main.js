'use strict'

require('./cases/admin')
require('./cases/groups')
require('./cases/consume')
require('./cases/produce')
require('./cases/transact')
require('./cases/autocreate')
require('./cases/restart')
require('./seeds/platform')
require('./seeds/interviews')
require('./seeds/orders')
require('./seeds/etelios')

const { main } = require('../common/harness')
const { removeTopics } = require('./client')

main(removeTopics)
