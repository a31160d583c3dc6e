'use strict'

require('./cases/admin')
require('./cases/groups')
require('./cases/consume')
require('./cases/produce')
require('./cases/restart')
require('./cases/transact')

const { main } = require('../common/harness')
const { removeAll } = require('./client')

main(removeAll)
